#include "model/ops/scan_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/cuda_on_host/ragged.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

// Shorter and longer than a chunk, a segment, and a cluster's round of segments.
const std::vector<std::pair<int, int>> kShapes = {{1, 1}, {3, 5}, {16, 8}, {13, 29}, {40, 41}};

struct Weights {
  Weights(int steps, int width, unsigned seed)
      : rank(steps),
        channels(width),
        step(Random(static_cast<size_t>(rank * channels), -.5, .5, seed)),
        bias(Random(static_cast<size_t>(channels), -5, 1, seed + 1)),
        decay(Random(static_cast<size_t>(channels), -2, -.1F, seed + 2)) {}
  DeviceScan scan() const { return {rank, step.data(), bias.data(), decay.data()}; }
  int rank, channels;
  std::vector<float> step, bias, decay;
};

// The recurrence of one channel over one image, in double precision.
template <typename T>
std::vector<double> Scanned(const TestMap<T>& x, const TestMap<float>& rbc, const DeviceSpan& span,
                            int channel, const Weights& weights) {
  std::vector<double> states;
  double state = 0;
  const auto of = [&](const std::vector<float>& values, int row) {
    return static_cast<double>(values[static_cast<size_t>(row * weights.channels + channel)]);
  };
  for (int t = span.offset; t < span.offset + span.height * span.width; ++t) {
    double step = of(weights.bias, 0);
    for (int k = 0; k < weights.rank; ++k) step += of(weights.step, k) * rbc.value(t, k);
    step = step > 20 ? step : std::log1p(std::exp(step));
    state = std::exp(step * of(weights.decay, 0)) * state +
            step * rbc.value(t, weights.rank) * x.value(t, channel);
    states.push_back(state);
  }
  return states;
}

template <typename T>
double WorstError(const std::vector<std::pair<int, int>>& shapes, int rank, int channels) {
  const RaggedLevel batch(shapes);
  const Weights weights(rank, channels, 31);
  TestMap<T> x(batch.tokens(), channels, -2, 2, 1, 1), h(batch.tokens(), channels);
  TestMap<float> rbc(batch.tokens(), rank + 2, -1, 1, 2);
  EXPECT_TRUE(SameInEveryOrder(
      h, [&] { ScanCuda(x.map(), rbc.map(), batch.level(), weights.scan(), h.map(), nullptr); }));
  double worst = 0;
  for (const DeviceSpan& span : batch.spans()) {
    for (int c = 0; c < channels; ++c) {
      const std::vector<double> want = Scanned(x, rbc, span, c, weights);
      for (size_t t = 0; t < want.size(); ++t) {
        worst = std::max(worst, Error(h.value(span.offset + static_cast<int>(t), c), want[t]));
      }
    }
  }
  return worst;
}

TEST(ScanCuda, EqualsTheRecurrenceInDoublePrecision) {
  EXPECT_LE(WorstError<float>(kShapes, 4, 64), kTolerance<float>);
  EXPECT_LE(WorstError<float>(kShapes, 1, 32), kTolerance<float>);
  EXPECT_LE(WorstError<float>({{9, 7}}, 48, 192), kTolerance<float>);
  EXPECT_LE(WorstError<Bf16>(kShapes, 8, 128), kTolerance<Bf16>);
}

template <typename T>
TestMap<T> Scan(const RaggedLevel& batch, TestMap<T>& x, TestMap<float>& rbc, int channels,
                int rank) {
  const Weights weights(rank, channels, 5);
  TestMap<T> h(batch.tokens(), channels);
  ScanCuda(x.map(), rbc.map(), batch.level(), weights.scan(), h.map(), nullptr);
  return h;
}

// The number of blocks that share an image follows from the capacity: another one for each of
// these.
TEST(ScanCuda, NoResultDependsOnHowManyBlocksShareAnImage) {
  constexpr int kChannels = 32, kRank = 2;
  const RaggedLevel shared({{40, 41}}, {}, 0), by_few({{40, 41}}, {}, 300);
  TestMap<float> x(shared.tokens(), kChannels, -2, 2, 5), rbc(shared.tokens(), kRank + 2, -1, 1, 6);
  EXPECT_TRUE(
      Scan(shared, x, rbc, kChannels, kRank).SameBits(Scan(by_few, x, rbc, kChannels, kRank)));
}

TEST(ScanCuda, AnImageHasTheSameBitsAlone) {
  constexpr int kChannels = 64, kRank = 4;
  const RaggedLevel batch(kShapes), alone({kShapes[3]});
  TestMap<Bf16> x(batch.tokens(), kChannels, -2, 2, 5), own(alone.tokens(), kChannels);
  TestMap<float> rbc(batch.tokens(), kRank + 2, -1, 1, 6), own_rbc(alone.tokens(), kRank + 2);
  const int offset = batch.spans()[3].offset;
  for (int t = 0; t < alone.tokens(); ++t) {
    for (int c = 0; c < kChannels; ++c) own.at(t, c) = x.at(offset + t, c);
    for (int c = 0; c < kRank + 2; ++c) own_rbc.at(t, c) = rbc.at(offset + t, c);
  }
  const TestMap<Bf16> together = Scan(batch, x, rbc, kChannels, kRank);
  const TestMap<Bf16> single = Scan(alone, own, own_rbc, kChannels, kRank);
  for (int t = 0; t < alone.tokens(); ++t) EXPECT_TRUE(together.Contains(offset + t, single, t));
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
