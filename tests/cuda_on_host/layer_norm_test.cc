#include "model/ops/layer_norm_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/cuda_on_host/ragged.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

struct Weights {
  explicit Weights(int channels)
      : gain(Random(static_cast<size_t>(channels), .5, 1.5, 7)),
        bias(Random(static_cast<size_t>(channels), -1, 1, 8)) {}
  std::vector<float> gain, bias;
};

template <typename T>
std::vector<double> Normalised(const TestMap<T>& x, int row, int channels, const Weights& weights) {
  double mean = 0, variance = 0;
  for (int c = 0; c < channels; ++c) mean += x.value(row, c) / channels;
  for (int c = 0; c < channels; ++c) {
    variance += (x.value(row, c) - mean) * (x.value(row, c) - mean) / channels;
  }
  std::vector<double> normed;
  for (int c = 0; c < channels; ++c) {
    const auto i = static_cast<size_t>(c);
    normed.push_back((x.value(row, c) - mean) / std::sqrt(variance + 1e-5) *
                         static_cast<double>(weights.gain[i]) +
                     static_cast<double>(weights.bias[i]));
  }
  return normed;
}

template <typename From, typename To>
void CheckRows(int channels) {
  constexpr int kRows = 19, kCapacity = 30;
  const Weights weights(channels);
  const int rows = kRows;
  TestMap<From> x(kRows, channels, 10, 12, 1, 1);  // a mean far from zero
  TestMap<To> out(kRows, channels);
  EXPECT_TRUE(SameInEveryOrder(out, [&] {
    LayerNormCuda(x.map(), weights.gain.data(), weights.bias.data(), &rows, kCapacity, out.map(),
                  nullptr);
  }));
  double worst = 0;
  for (int row = 0; row < kRows; ++row) {
    const std::vector<double> want = Normalised(x, row, channels, weights);
    for (int c = 0; c < channels; ++c) {
      worst = std::max(worst, Error(out.value(row, c), want[static_cast<size_t>(c)]));
    }
  }
  EXPECT_LE(worst, std::max(2e-5, kTolerance<To>));
}

TEST(LayerNormCuda, EqualsTheNaiveLoop) {
  CheckRows<float, float>(16);
  CheckRows<float, float>(768);
  CheckRows<Bf16, float>(130);
  CheckRows<Bf16, Bf16>(64);
}

TEST(LayerNormCuda, MeanOfTokensEqualsTheNaiveLoop) {
  constexpr int kChannels = 80;
  const RaggedLevel batch({{1, 1}, {7, 7}, {3, 11}});
  const Weights weights(kChannels);
  TestMap<Bf16> x(batch.tokens(), kChannels, -3, 3, 1);
  TestMap<float> out(batch.images(), kChannels);
  EXPECT_TRUE(SameInEveryOrder(out, [&] {
    LayerNormMeanCuda(x.map(), batch.level(), weights.gain.data(), weights.bias.data(), out.map(),
                      nullptr);
  }));
  for (int image = 0; image < batch.images(); ++image) {
    const DeviceSpan& span = batch.spans()[static_cast<size_t>(image)];
    const int tokens = span.height * span.width;
    std::vector<double> mean(kChannels);
    for (int t = 0; t < tokens; ++t) {
      const std::vector<double> row = Normalised(x, span.offset + t, kChannels, weights);
      for (size_t c = 0; c < mean.size(); ++c) mean[c] += row[c] / tokens;
    }
    for (int c = 0; c < kChannels; ++c) {
      EXPECT_LE(Error(out.value(image, c), mean[static_cast<size_t>(c)]), 1e-5);
    }
  }
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
