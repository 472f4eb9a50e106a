#include <cmath>

#include "model/ops/mask_upsample_params.h"

namespace spatialmamba {
namespace {

// In sixteen interleaved sums, so that the compiler may use vectors without changing the order.
float Dot(const float* a, const float* b, int64_t count) {
  constexpr int64_t kSums = 16;
  float sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int64_t j = 0; j < kSums; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (int64_t j = 0; i < count; ++i, ++j) sums[j] += a[i] * b[i];
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

}  // namespace

void MaskLogitsCpu(const MaskLogitParams& p, int64_t first, int64_t count) {
  const float* pixel = p.doubled;
  for (int64_t i = first; i < first + count; ++i) {
    for (int64_t quarter = 0; quarter < 4; ++quarter, pixel += p.channels) {
      const int64_t y = i / p.side * 2 + quarter / 2;
      const int64_t x = i % p.side * 2 + quarter % 2;
      const float logit = Dot(pixel, p.weights, p.channels) + p.bias;
      p.out[y * 2 * p.side + x] = 1.0F / (1.0F + std::exp(-logit));
    }
  }
}

}  // namespace spatialmamba
