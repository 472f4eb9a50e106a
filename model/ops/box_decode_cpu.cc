#include <algorithm>
#include <cmath>

#include "model/ops/box_decode_params.h"

namespace spatialmamba {
namespace {

// A box's sides change by at most this in log: |log(16 / 1000)|.
constexpr float kLongestStretch = 4.135166556742356F;

// Centre and sides after the deltas, along one axis.
struct Interval {
  float low;
  float high;
};

Interval Moved(Interval from, float shift, float stretch, float limit) {
  const float extent = from.high - from.low;
  const float centre = (from.low + from.high) * 0.5F + extent * shift;
  const float half =
      extent * std::exp(std::clamp(stretch, -kLongestStretch, kLongestStretch)) * 0.5F;
  return {std::clamp(centre - half, 0.0F, limit), std::clamp(centre + half, 0.0F, limit)};
}

}  // namespace

void AnchorBoxesCpu(const AnchorParams& p) {
  const auto stride = static_cast<float>(p.stride);
  float half_width[3];
  float half_height[3];
  constexpr float kRatios[3] = {0.5F, 1.0F, 2.0F};
  for (int a = 0; a < 3; ++a) {
    const float tall = std::sqrt(kRatios[a]);
    half_width[a] = 0.5F * (stride * (1.0F / tall) * 8.0F);
    half_height[a] = 0.5F * (stride * tall * 8.0F);
  }
  for (int64_t i = 0; i < p.count; ++i) {
    const int64_t pixel = p.indices[i] / 3;
    const int64_t a = p.indices[i] % 3;
    const auto x = static_cast<float>(pixel % p.width * p.stride);
    const auto y = static_cast<float>(pixel / p.width * p.stride);
    p.out[i] = {x - half_width[a], y - half_height[a], x + half_width[a], y + half_height[a]};
  }
}

void DecodeBoxesCpu(const DecodeParams& p) {
  for (int64_t i = 0; i < p.count; ++i) {
    const float* delta = p.deltas + i * p.deltas_stride;
    const Box box = p.boxes[i];
    const Interval x =
        Moved({box.left, box.right}, delta[0] * p.centre_scale, delta[2] * p.extent_scale, p.width);
    const Interval y = Moved({box.top, box.bottom}, delta[1] * p.centre_scale,
                             delta[3] * p.extent_scale, p.height);
    p.out[i] = {x.low, y.low, x.high, y.high};
  }
}

}  // namespace spatialmamba
