#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace spatialmamba {

// What two bilinear resizes in a row read along one axis: the sum over j of weights[j] x[first +
// j]. Indices beyond the axis have weight zero.
struct TwoStepSample {
  static constexpr int64_t kTaps = 4;

  int64_t first = 0;
  std::array<float, kTaps> weights = {};
};

// For each of the `to` positions: the interpolation from `between` pixels, applied to that from
// `from` pixels. Both are linear, so that their weights may be multiplied once for the axis. Throws
// std::invalid_argument if a size is not positive or the first step would shrink (from > between:
// it could read further apart than the taps reach).
std::vector<TwoStepSample> TwoStepAxis(int64_t from, int64_t between, int64_t to);

// How many of the leading weights are not zero anywhere on the axis.
int64_t TapsUsed(const std::vector<TwoStepSample>& axis);

}  // namespace spatialmamba
