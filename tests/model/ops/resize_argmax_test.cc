#include "model/ops/resize_argmax.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "tests/model/ops/resize_reference.h"

namespace spatialmamba {
namespace {

struct Labels {
  std::vector<uint16_t> labels;
  std::vector<int64_t> class_pixels;
};

Labels Labelled(const Map& logits, const ResizeSteps& steps, int threads) {
  ThreadPool pool(threads);
  PoolContext context(pool);
  Labels out{std::vector<uint16_t>(static_cast<size_t>(steps.to.height * steps.to.width), 9999),
             std::vector<int64_t>(static_cast<size_t>(logits.channels), -1)};
  ResizeArgmax(context, logits.view(), steps, out.labels, out.class_pixels);
  return out;
}

// Logits that are alike among neighbours, as a network's are: few classes may win in a block.
Map Smooth(uint64_t seed, const PixelSize& size, int64_t classes) {
  const Map coarse = Map::Random(seed, 4 * 5, classes);
  const Plane plane = Resized(Plane(coarse, {0, 4, 5}), size);
  Map map(size.height * size.width, classes, 3);
  for (int64_t t = 0; t < map.rows; ++t) {
    for (int64_t c = 0; c < classes; ++c) {
      map.at(t, c) = static_cast<float>(3 * plane.at(t / size.width, t % size.width, c));
    }
  }
  return map;
}

// The label must be the best class of the double-precision twin, or one within `tie` of it.
void ExpectLabels(const Map& logits, const ResizeSteps& steps, double tie) {
  const Labels out = Labelled(logits, steps, 2);
  const Plane once =
      Resized(Plane(logits, {0, steps.from.height, steps.from.width}), steps.between);
  const Plane twice = Resized(once, steps.to);
  std::vector<int64_t> counts(out.class_pixels.size());
  for (int64_t y = 0; y < steps.to.height; ++y) {
    for (int64_t x = 0; x < steps.to.width; ++x) {
      const uint16_t label = out.labels[static_cast<size_t>(y * steps.to.width + x)];
      ASSERT_LT(label, counts.size());
      ++counts[label];
      double best = twice.at(y, x, 0);
      for (int64_t c = 1; c < logits.channels; ++c) best = std::max(best, twice.at(y, x, c));
      ASSERT_GE(twice.at(y, x, label), best - tie) << y << " " << x;
    }
  }
  EXPECT_EQ(out.class_pixels, counts);
}

const std::vector<ResizeSteps> kSteps = {
    {{1, 1}, {1, 1}, {1, 1}},       {{1, 1}, {3, 4}, {40, 50}},      {{1, 9}, {2, 36}, {5, 100}},
    {{7, 1}, {27, 3}, {70, 1}},     {{8, 12}, {32, 48}, {131, 203}}, {{8, 12}, {31, 46}, {31, 46}},
    {{24, 30}, {96, 120}, {17, 9}}, {{24, 30}, {96, 120}, {1, 1}},   {{6, 6}, {6, 6}, {33, 17}},
};

class ResizeArgmaxTest : public OnEveryInstructionSet {};
INSTANTIATE_TEST_SUITE_P(, ResizeArgmaxTest, testing::ValuesIn(Float32InstructionSets()), SetName);

TEST_P(ResizeArgmaxTest, GivesTheBestClassOfTwoResizes) {
  for (const ResizeSteps& steps : kSteps) {
    for (const int64_t classes : {1, 2, 19, 150}) {
      ExpectLabels(Smooth(1, steps.from, classes), steps, 2e-5);
      ExpectLabels(Map::Random(2, steps.from.height * steps.from.width, classes, 1), steps, 2e-5);
    }
  }
}

TEST_P(ResizeArgmaxTest, OneResizeInsteadOfTwoWouldGiveOtherLabels) {
  const ResizeSteps steps{{8, 12}, {29, 45}, {131, 203}};
  const Map logits = Smooth(3, steps.from, 40);
  const Labels two = Labelled(logits, steps, 2);
  const Labels one = Labelled(logits, {steps.from, steps.from, steps.to}, 2);
  EXPECT_NE(two.labels, one.labels);
}

TEST_P(ResizeArgmaxTest, OfEqualLogitsTheLowestClassWins) {
  const ResizeSteps steps{{5, 7}, {20, 28}, {60, 99}};
  Map logits = Smooth(4, steps.from, 25);
  for (int64_t t = 0; t < logits.rows; ++t) {
    // Classes 3, 11 and 24 are the same and often the best.
    logits.at(t, 3) += 1;
    logits.at(t, 11) = logits.at(t, 24) = logits.at(t, 3);
  }
  const Labels out = Labelled(logits, steps, 2);
  EXPECT_GT(out.class_pixels[3], 0);
  EXPECT_EQ(out.class_pixels[11], 0);
  EXPECT_EQ(out.class_pixels[24], 0);
}

TEST_P(ResizeArgmaxTest, ThreadsDoNotChangeALabel) {
  const ResizeSteps steps{{16, 12}, {61, 48}, {201, 131}};
  const Map logits = Map::Random(5, 16 * 12, 33);
  const Labels one = Labelled(logits, steps, 1);
  EXPECT_EQ(std::accumulate(one.class_pixels.begin(), one.class_pixels.end(), int64_t{0}),
            201 * 131);
  for (const int threads : {2, 3}) {
    const Labels many = Labelled(logits, steps, threads);
    EXPECT_EQ(one.labels, many.labels);
    EXPECT_EQ(one.class_pixels, many.class_pixels);
  }
}

TEST(ResizeArgmax, ShapesThatDoNotFitAreRefused) {
  const Map logits = Map::Random(6, 12, 4);
  EXPECT_THROW(Labelled(logits, {{3, 5}, {12, 16}, {9, 9}}, 1), std::invalid_argument);
  EXPECT_THROW(Labelled(logits, {{3, 4}, {2, 16}, {9, 9}}, 1), std::invalid_argument);
  EXPECT_THROW(Labelled(logits, {{3, 4}, {12, 16}, {0, 9}}, 1), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
