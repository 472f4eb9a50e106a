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

// Part of an image: pixel rows [first_row, last_row) of channels [first_channel, last_channel).
struct FusionPart {
  int64_t first_channel = 0;
  int64_t last_channel = 0;
  int64_t first_row = 0;
  int64_t last_row = 0;
};

// out = c * h' + skip * x of a part. `scratch`: kFusionScratchFloats, aligned to 64 bytes.
void ObserveCpu(const StateFusionParams& params, const FusionPart& part, float* scratch);
inline constexpr int64_t kFusionScratchFloats = int64_t{11} * (48 + 10) * 16;

// out = LayerNorm(out) * SiLU(z) of pixel rows [first_row, last_row).
void NormaliseAndGateCpu(const StateFusionParams& params, int64_t first_row, int64_t last_row);

}  // namespace spatialmamba
