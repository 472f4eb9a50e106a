#include <cmath>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "model/ops/adaptive_pool.h"
#include "model/ops/bilinear.h"
#include "model/ops/bilinear_axis.h"
#include "model/ops/class_confidence.h"
#include "tests/model/ops/resize_reference.h"

namespace spatialmamba {
namespace {

using Sizes = std::vector<std::pair<int64_t, int64_t>>;

// Row, column, thin, odd and even sizes, enlarged and shrunk.
const Sizes kFrom = {{1, 1}, {1, 7}, {6, 1}, {3, 4}, {5, 9}, {8, 8}, {7, 2}};
const Sizes kTo = {{1, 1}, {2, 13}, {11, 3}, {6, 8}, {9, 17}, {3, 2}, {1, 1}};

class ResizeTest : public OnEveryInstructionSet {
 protected:
  static Map Enlarged(const Map& x, const Sizes& from, const Sizes& to, const Map& onto,
                      int threads) {
    ThreadPool pool(threads);
    PoolContext context(pool);
    Map sum = onto;
    AddBilinear(context, x.view(), SpansOf(from), sum.view(), SpansOf(to));
    return sum;
  }
};
INSTANTIATE_TEST_SUITE_P(, ResizeTest, testing::ValuesIn(Float32InstructionSets()), SetName);

TEST_P(ResizeTest, BilinearAddsWhatANaiveTwinGivesInDoublePrecision) {
  for (const int64_t channels : {int64_t{1}, int64_t{5}, int64_t{40}}) {
    const Map x = Map::Random(1, TotalTokens(SpansOf(kFrom)), channels, 3);
    const Map onto = Map::Random(2, TotalTokens(SpansOf(kTo)), channels, 1);
    const Map sum = Enlarged(x, kFrom, kTo, onto, 2);
    for (size_t i = 0; i < kFrom.size(); ++i) {
      const Span to = SpansOf(kTo)[i];
      const Plane expected = Resized(Plane(x, SpansOf(kFrom)[i]), {to.height, to.width});
      for (int64_t t = 0; t < to.tokens(); ++t) {
        for (int64_t c = 0; c < channels; ++c) {
          EXPECT_NEAR(sum.at(to.offset + t, c),
                      expected.at(t / to.width, t % to.width, c) + onto.at(to.offset + t, c), 4e-6)
              << "image " << i << " token " << t;
        }
      }
    }
  }
}

TEST_P(ResizeTest, BilinearDoesNotDependOnOtherImagesOrThreads) {
  const Map x = Map::Random(3, TotalTokens(SpansOf(kFrom)), 19);
  const Map onto = Map::Random(4, TotalTokens(SpansOf(kTo)), 19);
  const Map together = Enlarged(x, kFrom, kTo, onto, 3);
  for (size_t i = 0; i < kFrom.size(); ++i) {
    const Span from = SpansOf(kFrom)[i];
    const Span to = SpansOf(kTo)[i];
    Map own(from.tokens(), 19);
    own.values.assign(x.view().row(from.offset), x.view().row(from.offset + from.tokens()));
    Map own_onto(to.tokens(), 19);
    own_onto.values.assign(onto.view().row(to.offset), onto.view().row(to.offset + to.tokens()));
    const Map alone = Enlarged(own, {kFrom[i]}, {kTo[i]}, own_onto, 1);
    for (int64_t t = 0; t < to.tokens(); ++t) {
      EXPECT_TRUE(SameBits(together, to.offset + t, alone, t)) << i;
    }
  }
}

TEST_P(ResizeTest, ConfidenceIsTheSoftmaxOfTheBestClass) {
  ThreadPool pool(3);
  PoolContext context(pool);
  for (const int64_t classes : {1, 2, 19, 150}) {
    Map logits = Map::Random(5, 600, classes, 2);
    for (int64_t t = 0; t < 600; ++t) logits.at(t, t % classes) += static_cast<float>(t) / 60;
    std::vector<uint8_t> confidence(600);
    ClassConfidence(context, logits.view(), confidence);
    for (int64_t t = 0; t < 600; ++t) {
      double best = -1e9;
      double sum = 0;
      for (int64_t c = 0; c < classes; ++c) {
        best = std::max(best, static_cast<double>(logits.at(t, c)));
      }
      for (int64_t c = 0; c < classes; ++c) {
        sum += std::exp(static_cast<double>(logits.at(t, c)) - best);
      }
      EXPECT_NEAR(confidence[static_cast<size_t>(t)], 255 / sum, 0.501) << t;
    }
  }
}

TEST(BilinearAxis, SamplesLieBetweenNeighboursAndKeepAnUnchangedAxis) {
  for (const int64_t from : {1, 2, 7, 33}) {
    for (const int64_t to : {1, 2, 5, 33, 100}) {
      for (const BilinearSample& sample : BilinearAxis(from, to)) {
        EXPECT_GE(sample.low, 0);
        EXPECT_LT(sample.high, from);
        EXPECT_LE(sample.high - sample.low, 1);
        EXPECT_GE(sample.weight, 0);
        EXPECT_LE(sample.weight, 1);
      }
    }
  }
  const std::vector<BilinearSample> same = BilinearAxis(9, 9);
  for (int64_t i = 0; i < 9; ++i) {
    EXPECT_EQ(same[static_cast<size_t>(i)].low, i);
    EXPECT_EQ(same[static_cast<size_t>(i)].weight, 0);
  }
  EXPECT_THROW(BilinearAxis(0, 3), std::invalid_argument);
}

TEST(AdaptivePool, AveragesTheBinsOfEachImageAlsoIfThereAreMoreBinsThanPixels) {
  const Sizes sizes = {{1, 1}, {1, 9}, {4, 2}, {7, 13}, {16, 16}};
  const std::vector<Span> spans = SpansOf(sizes);
  const Map x = Map::Random(6, TotalTokens(spans), 21, 2);
  for (const int64_t bins : {1, 2, 3, 6}) {
    ThreadPool pool(3);
    PoolContext context(pool);
    Map out(static_cast<int64_t>(spans.size()) * bins * bins, 21, 1);
    AdaptiveAveragePool(context, x.view(), spans, bins, out.view());
    for (int64_t row = 0; row < out.rows; ++row) {
      const Plane image(x, spans[static_cast<size_t>(row / (bins * bins))]);
      const int64_t i = row / bins % bins;
      const int64_t j = row % bins;
      const auto begin = [&](int64_t bin, int64_t n) { return bin * n / bins; };
      const auto end = [&](int64_t bin, int64_t n) {
        return static_cast<int64_t>(
            std::ceil(static_cast<double>((bin + 1) * n) / static_cast<double>(bins)));
      };
      for (int64_t c = 0; c < 21; ++c) {
        double sum = 0;
        int64_t count = 0;
        for (int64_t v = begin(i, image.size.height); v < end(i, image.size.height); ++v) {
          for (int64_t u = begin(j, image.size.width); u < end(j, image.size.width); ++u, ++count) {
            sum += image.at(v, u, c);
          }
        }
        EXPECT_NEAR(out.at(row, c), sum / static_cast<double>(count), 1e-6) << bins << " " << row;
      }
    }
  }
}

TEST(Resize, ShapesThatDoNotFitAreRefused) {
  float scratch[64];
  SerialContext context(scratch);
  Map x = Map::Random(7, 6, 4);
  Map out(4, 4);
  const std::vector<Span> spans = SpansOf({{2, 3}});
  EXPECT_THROW(AddBilinear(context, x.view(), spans, out.view(), SpansOf({{2, 3}})),
               std::invalid_argument);
  EXPECT_THROW(AddBilinear(context, x.view(), spans, out.view(), {}), std::invalid_argument);
  EXPECT_THROW(AdaptiveAveragePool(context, x.view(), spans, 3, out.view()), std::invalid_argument);
  EXPECT_THROW(AdaptiveAveragePool(context, x.view(), SpansOf({{0, 3}}), 2, out.view()),
               std::invalid_argument);
  std::vector<uint8_t> confidence(5);
  EXPECT_THROW(ClassConfidence(context, x.view(), confidence), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
