#include "model/ops/stem_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/cuda_on_host/ragged.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

template <typename T>
double WorstError(int channels) {
  const RaggedLevel from({{1, 1}, {7, 5}, {4, 18}}), to({{1, 1}, {4, 3}, {2, 9}});
  const auto width = static_cast<size_t>(channels);
  const std::vector<float> pixels = Random(static_cast<size_t>(3 * from.tokens()), -2, 2, 1);
  const std::vector<float> weights = Random(27 * width, -1, 1, 2), bias = Random(width, -1, 1, 3);
  TestMap<T> out(to.tokens(), channels, 1);
  EXPECT_TRUE(SameInEveryOrder(out, [&] {
    StemConvCuda(pixels.data(), from.level(), to.level(), weights.data(), bias.data(), out.map(),
                 nullptr);
  }));
  double worst = 0;
  for (size_t image = 0; image < to.spans().size(); ++image) {
    const DeviceSpan& small = to.spans()[image];
    const DeviceSpan& large = from.spans()[image];
    for (int pixel = 0; pixel < small.height * small.width; ++pixel) {
      for (int c = 0; c < channels; ++c) {
        double sum = static_cast<double>(bias[static_cast<size_t>(c)]);
        for (int i = 0; i < 27; ++i) {
          const int y = pixel / small.width * 2 + i / 9 - 1;
          const int x = pixel % small.width * 2 + i / 3 % 3 - 1;
          if (y < 0 || y >= large.height || x < 0 || x >= large.width) continue;
          const int token = large.offset + y * large.width + x;
          sum += static_cast<double>(pixels[static_cast<size_t>(token * 3 + i % 3)]) *
                 static_cast<double>(weights[static_cast<size_t>(i * channels + c)]);
        }
        worst = std::max(worst, Error(out.value(small.offset + pixel, c), std::max(0.0, sum)));
      }
    }
  }
  return worst;
}

TEST(StemCuda, EqualsTheNaiveLoop) {
  EXPECT_LE(WorstError<float>(8), kTolerance<float>);
  EXPECT_LE(WorstError<float>(48), kTolerance<float>);
  EXPECT_LE(WorstError<Bf16>(32), kTolerance<Bf16>);
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
