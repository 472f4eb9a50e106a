#include "model/ops/depthwise_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/cuda_on_host/ragged.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

const std::vector<std::pair<int, int>> kShapes = {{1, 1}, {7, 5}, {3, 17}, {9, 8}};
const std::vector<std::pair<int, int>> kHalfShapes = {{1, 1}, {4, 3}, {2, 9}, {5, 4}};

struct Weights {
  Weights(int channels, unsigned seed)
      : taps(Random(static_cast<size_t>(9 * channels), -1, 1, seed)),
        bias(Random(static_cast<size_t>(channels), -1, 1, seed + 1)),
        gain(Random(static_cast<size_t>(channels), .5, 1.5, seed + 2)),
        shift(Random(static_cast<size_t>(channels), -1, 1, seed + 3)) {}
  DeviceDepthwise depthwise() const { return {taps.data(), bias.data()}; }
  DeviceNorm norm() const { return {gain.data(), shift.data()}; }
  std::vector<float> taps, bias, gain, shift;
};

// bias + the 3x3 neighbours of the pixel, zero outside the image.
template <typename T>
double Convolved(const TestMap<T>& x, const DeviceSpan& span, int row, int column, int channel,
                 int channels, const Weights& weights) {
  double sum = static_cast<double>(weights.bias[static_cast<size_t>(channel)]);
  for (int dy = -1; dy <= 1; ++dy) {
    for (int dx = -1; dx <= 1; ++dx) {
      const int y = row + dy, c = column + dx;
      if (y < 0 || y >= span.height || c < 0 || c >= span.width) continue;
      const int tap = (dy + 1) * 3 + dx + 1;
      sum += static_cast<double>(weights.taps[static_cast<size_t>(tap * channels + channel)]) *
             x.value(span.offset + y * span.width + c, channel);
    }
  }
  return sum;
}

std::vector<double> Normalised(const std::vector<double>& row, const Weights& weights) {
  double mean = 0, variance = 0;
  for (const double v : row) mean += v / static_cast<double>(row.size());
  for (const double v : row) variance += (v - mean) * (v - mean) / static_cast<double>(row.size());
  std::vector<double> normed;
  for (size_t c = 0; c < row.size(); ++c) {
    normed.push_back((row[c] - mean) / std::sqrt(variance + 1e-5) *
                         static_cast<double>(weights.gain[c]) +
                     static_cast<double>(weights.shift[c]));
  }
  return normed;
}

template <typename T>
void CheckResidualNorm(int channels, TileSize tile) {
  const RaggedLevel batch(kShapes, tile);
  const Weights weights(channels, 7);
  TestMap<float> x(batch.tokens(), channels, -2, 2, 1, 1), out(batch.tokens(), channels);
  TestMap<T> normed(batch.tokens(), channels);
  EXPECT_TRUE(SameInEveryOrder(normed, [&] {
    out.Clear();
    DepthwiseResidualNormCuda(x.map(), batch.level(), weights.depthwise(), weights.norm(),
                              out.map(), normed.map(), nullptr);
  }));
  double worst_out = 0, worst_normed = 0;
  for (const DeviceSpan& span : batch.spans()) {
    for (int pixel = 0; pixel < span.height * span.width; ++pixel) {
      std::vector<double> row;
      for (int c = 0; c < channels; ++c) {
        row.push_back(x.value(span.offset + pixel, c) + Convolved(x, span, pixel / span.width,
                                                                  pixel % span.width, c, channels,
                                                                  weights));
      }
      const std::vector<double> want = Normalised(row, weights);
      for (int c = 0; c < channels; ++c) {
        const auto i = static_cast<size_t>(c);
        worst_out = std::max(worst_out, Error(out.value(span.offset + pixel, c), row[i]));
        worst_normed = std::max(worst_normed, Error(normed.value(span.offset + pixel, c), want[i]));
      }
    }
  }
  EXPECT_LE(worst_out, kTolerance<float>);
  EXPECT_LE(worst_normed, kTolerance<T>);
}

TEST(DepthwiseCuda, ResidualNormEqualsTheNaiveLoop) {
  for (const int channels : {16, 64, 96, 128, 200}) {
    CheckResidualNorm<float>(channels, {4, 8});
    CheckResidualNorm<Bf16>(channels, {2, 16});
  }
}

template <typename T>
TestMap<T> ResidualNormOf(const RaggedLevel& batch, TestMap<float>& x, int channels) {
  const Weights weights(channels, 3);
  TestMap<float> out(batch.tokens(), channels);
  TestMap<T> normed(batch.tokens(), channels);
  DepthwiseResidualNormCuda(x.map(), batch.level(), weights.depthwise(), weights.norm(), out.map(),
                            normed.map(), nullptr);
  return normed;
}

TEST(DepthwiseCuda, NoResultDependsOnTheTiles) {
  constexpr int kChannels = 64;
  const RaggedLevel small(kShapes, {1, 8}), large(kShapes, {16, 16}, 0);
  TestMap<float> x(small.tokens(), kChannels, -2, 2, 5);
  EXPECT_TRUE(ResidualNormOf<Bf16>(small, x, kChannels)
                  .SameBits(ResidualNormOf<Bf16>(large, x, kChannels)));
}

TEST(DepthwiseCuda, AnImageHasTheSameBitsAlone) {
  constexpr int kChannels = 96;
  const RaggedLevel batch(kShapes), alone({kShapes[1]});
  TestMap<float> x(batch.tokens(), kChannels, -2, 2, 5), own(alone.tokens(), kChannels);
  const int offset = batch.spans()[1].offset;
  for (int t = 0; t < alone.tokens(); ++t) {
    for (int c = 0; c < kChannels; ++c) own.at(t, c) = x.at(offset + t, c);
  }
  const TestMap<float> together = ResidualNormOf<float>(batch, x, kChannels);
  const TestMap<float> single = ResidualNormOf<float>(alone, own, kChannels);
  for (int t = 0; t < alone.tokens(); ++t) EXPECT_TRUE(together.Contains(offset + t, single, t));
}

double Activated(double v, Activation activation) {
  if (activation == Activation::kRelu) return std::max(v, 0.0);
  return activation == Activation::kSilu ? v / (1 + std::exp(-v)) : v;
}

template <typename T>
double WorstDepthwise(int channels, Activation activation) {
  const RaggedLevel batch(kShapes);
  const Weights weights(channels, 11);
  TestMap<T> x(batch.tokens(), channels, -2, 2, 2, 3), out(batch.tokens(), channels);
  EXPECT_TRUE(SameInEveryOrder(out, [&] {
    DepthwiseCuda(x.map(), batch.level(), weights.depthwise(), activation, out.map(), nullptr);
  }));
  double worst = 0;
  for (const DeviceSpan& span : batch.spans()) {
    for (int pixel = 0; pixel < span.height * span.width; ++pixel) {
      for (int c = 0; c < channels; ++c) {
        const double want = Activated(
            Convolved(x, span, pixel / span.width, pixel % span.width, c, channels, weights),
            activation);
        worst = std::max(worst, Error(out.value(span.offset + pixel, c), want));
      }
    }
  }
  return worst;
}

TEST(DepthwiseCuda, ActivatedEqualsTheNaiveLoop) {
  for (const int channels : {32, 128, 520}) {
    EXPECT_LE(WorstDepthwise<float>(channels, Activation::kSilu), kTolerance<float>);
    EXPECT_LE(WorstDepthwise<Bf16>(channels, Activation::kSilu), kTolerance<Bf16>);
  }
  EXPECT_LE(WorstDepthwise<float>(64, Activation::kRelu), kTolerance<float>);
  EXPECT_LE(WorstDepthwise<float>(64, Activation::kNone), kTolerance<float>);
}

template <typename T>
double WorstStride2(int channels) {
  const RaggedLevel from(kShapes), to(kHalfShapes);
  const Weights weights(channels, 13);
  TestMap<T> x(from.tokens(), channels, -2, 2, 3), out(to.tokens(), channels);
  EXPECT_TRUE(SameInEveryOrder(out, [&] {
    DepthwiseStride2Cuda(x.map(), from.level(), to.level(), weights.depthwise(), out.map(),
                         nullptr);
  }));
  double worst = 0;
  for (size_t image = 0; image < kShapes.size(); ++image) {
    const DeviceSpan& span = to.spans()[image];
    for (int pixel = 0; pixel < span.height * span.width; ++pixel) {
      for (int c = 0; c < channels; ++c) {
        const double want =
            std::max(0.0, Convolved(x, from.spans()[image], 2 * (pixel / span.width),
                                    2 * (pixel % span.width), c, channels, weights));
        worst = std::max(worst, Error(out.value(span.offset + pixel, c), want));
      }
    }
  }
  return worst;
}

TEST(DepthwiseCuda, Stride2EqualsTheNaiveLoop) {
  EXPECT_LE(WorstStride2<float>(128), kTolerance<float>);
  EXPECT_LE(WorstStride2<float>(64), kTolerance<float>);
  EXPECT_LE(WorstStride2<Bf16>(512), kTolerance<Bf16>);
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
