#pragma once

#include <cstdint>

#include "model/ops/norm.h"

namespace spatialmamba {

inline constexpr int kFusionTaps = 25;

// One image [height, width, channels]; strides in elements. See state_fusion.h.
struct StateFusionParams {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  const float* h = nullptr;
  int64_t h_stride = 0;
  const float* taps = nullptr;  // [25, channels]
  const float* c = nullptr;     // one value a token
  int64_t c_stride = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;
  const float* skip = nullptr;  // [channels]: D
  const float* z = nullptr;
  int64_t z_stride = 0;
  NormWeights norm;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// Pixel rows [first_row, last_row).
void StateFusionCpu(const StateFusionParams& params, int64_t first_row, int64_t last_row);

}  // namespace spatialmamba
