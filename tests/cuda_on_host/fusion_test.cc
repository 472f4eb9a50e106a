#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/ops/state_fusion.h"
#include "model/ops/state_fusion_cuda.h"
#include "tests/cuda_on_host/ragged.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

// Smaller than the reach of the taps, as wide as a strip, and larger.
const std::vector<std::pair<int, int>> kShapes = {{1, 1}, {2, 3}, {12, 7}, {6, 19}, {14, 14}};

template <typename T>
struct Case {
  Case(const std::vector<std::pair<int, int>>& shapes, int width, TileSize tile = {})
      : batch(shapes, tile),
        channels(width),
        h(batch.tokens(), channels, -2, 2, 1, 1),
        x(batch.tokens(), channels, -2, 2, 2),
        z(batch.tokens(), channels, -4, 4, 3, 2),
        c(batch.tokens(), 3, -1, 1, 4),
        out(batch.tokens(), channels),
        taps(Random(static_cast<size_t>(25 * channels), -1, 1, 5)),
        skip(Random(static_cast<size_t>(channels), -1, 1, 6)),
        gain(Random(static_cast<size_t>(channels), .5, 1.5, 7)),
        bias(Random(static_cast<size_t>(channels), -1, 1, 8)) {}

  void Run() { RunInto(out.map()); }
  void RunInto(const DeviceMap& to) {
    DeviceMap own_c = c.map();
    own_c.data = &c.at(0, 2);
    own_c.channels = 1;
    StateFusionCuda({h.map(), own_c, x.map(), z.map()}, batch.level(),
                    {taps.data(), skip.data(), {gain.data(), bias.data()}}, to, nullptr);
  }

  // c * h' + skip * x.
  double Observed(const DeviceSpan& span, int row, int column, int channel) const {
    double sum = 0;
    for (int tap = 0; tap < 25; ++tap) {
      const int y = std::clamp(row + kFusionOffsets[tap].row, 0, span.height - 1);
      const int at = std::clamp(column + kFusionOffsets[tap].column, 0, span.width - 1);
      sum += static_cast<double>(taps[static_cast<size_t>(tap * channels + channel)]) *
             h.value(span.offset + y * span.width + at, channel);
    }
    const int token = span.offset + row * span.width + column;
    return c.value(token, 2) * sum +
           static_cast<double>(skip[static_cast<size_t>(channel)]) * x.value(token, channel);
  }

  double WorstError() const {
    double worst = 0;
    for (const DeviceSpan& span : batch.spans()) {
      for (int pixel = 0; pixel < span.height * span.width; ++pixel) {
        std::vector<double> y;
        double mean = 0, variance = 0;
        for (int k = 0; k < channels; ++k) {
          y.push_back(Observed(span, pixel / span.width, pixel % span.width, k));
          mean += y.back() / channels;
        }
        for (const double v : y) variance += (v - mean) * (v - mean) / channels;
        for (int k = 0; k < channels; ++k) {
          const auto i = static_cast<size_t>(k);
          const double gate = z.value(span.offset + pixel, k);
          const double want =
              ((y[i] - mean) / std::sqrt(variance + 1e-5) * static_cast<double>(gain[i]) +
               static_cast<double>(bias[i])) *
              gate / (1 + std::exp(-gate));
          worst = std::max(worst, Error(out.value(span.offset + pixel, k), want));
        }
      }
    }
    return worst;
  }

  RaggedLevel batch;
  int channels;
  TestMap<T> h, x, z;
  TestMap<float> c;
  TestMap<T> out;
  std::vector<float> taps, skip, gain, bias;
};

template <typename T>
void Check(int channels, TileSize tile) {
  Case<T> fusion(kShapes, channels, tile);
  EXPECT_TRUE(SameInEveryOrder(fusion.out, [&] { fusion.Run(); }));
  // In bf16 the norm reads what was rounded once already, and divides by its deviation.
  EXPECT_LE(fusion.WorstError(), sizeof(T) == 4 ? kTolerance<T> : 4 * kTolerance<T>)
      << channels << " channels";
}

TEST(StateFusionCuda, EqualsTheNaiveLoop) {
  for (const int channels : {32, 64, 128, 192}) Check<float>(channels, {4, 8});
  Check<Bf16>(256, {2, 16});
  Check<Bf16>(1152, {8, 8});
}

TEST(StateFusionCuda, WritesOverX) {
  Case<float> fusion(kShapes, 64), in_place(kShapes, 64);
  fusion.Run();
  in_place.RunInto(in_place.x.map());
  EXPECT_TRUE(fusion.out.SameBits(in_place.x));
}

TEST(StateFusionCuda, NoResultDependsOnTheTiles) {
  Case<Bf16> small(kShapes, 128, {1, 8}), large(kShapes, 128, {16, 16});
  small.Run();
  large.Run();
  EXPECT_TRUE(small.out.SameBits(large.out));
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
