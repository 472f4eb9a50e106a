#include "model/ops/mask_upsample.h"

#include <cmath>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "tests/model/ops/ops_fixture.h"

namespace spatialmamba {
namespace {

// Weights of a head of `channels` channels and three classes.
struct Head {
  explicit Head(int64_t width)
      : channels(width),
        rows(RandomVector(1, 4 * width * width)),
        upsample(rows, 4 * width, width),
        upsample_bias(RandomVector(2, 4 * width)),
        class_weights(RandomVector(3, 3 * width)),
        class_bias(RandomVector(4, 3)) {}

  MaskUpsampleWeights view() const {
    return {&upsample, upsample_bias.data(), class_weights.data(), class_bias.data()};
  }

  // One pixel of the doubled map, in double precision.
  double Expected(const float* pixel, int64_t tap, int64_t label) const {
    auto logit = static_cast<double>(class_bias[static_cast<size_t>(label)]);
    for (int64_t o = tap * channels; o < (tap + 1) * channels; ++o) {
      auto sum = static_cast<double>(upsample_bias[static_cast<size_t>(o)]);
      for (int64_t i = 0; i < channels; ++i) {
        sum += static_cast<double>(pixel[i]) *
               static_cast<double>(rows[static_cast<size_t>(o * channels + i)]);
      }
      const auto weight =
          static_cast<double>(class_weights[static_cast<size_t>(label * channels + o % channels)]);
      logit += std::max(sum, 0.0) * weight;
    }
    return 1 / (1 + std::exp(-logit));
  }

  int64_t channels;
  std::vector<float> rows;
  PackedMatrix upsample;
  std::vector<float> upsample_bias;
  std::vector<float> class_weights;
  std::vector<float> class_bias;
};

class MaskUpsampleTest : public OnEveryInstructionSet {
 protected:
  static Map Run(const Head& head, const Map& x, int64_t side, const std::vector<int64_t>& labels,
                 int threads) {
    ThreadPool pool(threads);
    PoolContext context(pool);
    Map out(static_cast<int64_t>(labels.size()), 4 * side * side);
    MaskUpsample(context, x.view(), side, labels, head.view(), out.view());
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(, MaskUpsampleTest, testing::ValuesIn(Float32InstructionSets()), SetName);

TEST_P(MaskUpsampleTest, EqualsANaiveTwinInDoublePrecision) {
  for (const int64_t channels : {int64_t{1}, int64_t{7}, int64_t{33}}) {
    const Head head(channels);
    const std::vector<int64_t> labels = {2, 0};
    constexpr int64_t kSide = 11;
    const Map x = Map::Random(5, 2 * kSide * kSide, channels, 3);
    const Map out = Run(head, x, kSide, labels, 2);
    for (int64_t map = 0; map < 2; ++map) {
      for (int64_t pixel = 0; pixel < 4 * kSide * kSide; ++pixel) {
        const int64_t row = pixel / (2 * kSide);
        const int64_t column = pixel % (2 * kSide);
        const float* from = x.view().row((map * kSide + row / 2) * kSide + column / 2);
        EXPECT_NEAR(out.at(map, pixel),
                    head.Expected(from, row % 2 * 2 + column % 2, labels[static_cast<size_t>(map)]),
                    2e-5);
      }
    }
  }
}

TEST_P(MaskUpsampleTest, AMapDoesNotDependOnTheOthersOrTheThreads) {
  const Head head(20);
  const Map x = Map::Random(6, 3 * 196, 20);
  const Map together = Run(head, x, 14, {1, 2, 0}, 3);
  for (int64_t map = 0; map < 3; ++map) {
    Map own(196, 20);
    own.values.assign(x.values.begin() + map * 196 * 20, x.values.begin() + (map + 1) * 196 * 20);
    EXPECT_TRUE(SameBits(together, map, Run(head, own, 14, {(map + 1) % 3}, 1), 0)) << map;
  }
}

TEST(MaskUpsample, RefusesShapesThatDoNotFit) {
  const Head head(4);
  float scratch[1];
  SerialContext context(scratch);
  const Map x = Map::Random(7, 9, 4);
  Map out(1, 35);
  const std::vector<int64_t> labels = {0};
  EXPECT_THROW(MaskUpsample(context, x.view(), 3, labels, head.view(), out.view()),
               std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
