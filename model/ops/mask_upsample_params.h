#pragma once

#include <cstdint>

namespace spatialmamba {

// The doubled pixels of one map: for each of its pixels four vectors of channels, row by row.
struct MaskLogitParams {
  const float* doubled = nullptr;  // [pixels, 2, 2, channels]
  int64_t channels = 0;
  const float* weights = nullptr;  // [channels], of the map's class
  float bias = 0;
  int64_t side = 0;      // of the map before it was doubled
  float* out = nullptr;  // [2 * side, 2 * side]
};

// Probabilities of the doubled pixels of pixels [first, first + count); `doubled` begins at first.
void MaskLogitsCpu(const MaskLogitParams& params, int64_t first, int64_t count);

}  // namespace spatialmamba
