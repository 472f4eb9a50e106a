#pragma once

#include <cstdint>

#include "model/ops/epilogue.h"
#include "model/ops/norm.h"

namespace spatialmamba {

// One image: x [height, width, channels] -> out [ceil(height/step), ceil(width/step), channels],
// rows of tokens at the given strides (in elements).
struct DepthwiseParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t step = 1;             // 1 or 2
  const float* taps = nullptr;  // [9, channels], row by row
  const float* bias = nullptr;  // [channels]
  bool add_input = false;
  Activation activation = Activation::kNone;
  float* out = nullptr;
  int64_t out_stride = 0;
  NormWeights norm;         // used if `normed` is given
  float* normed = nullptr;  // LayerNorm of out
  int64_t normed_stride = 0;
};

// Output rows (of pixels) [first_row, last_row).
void DepthwiseCpu(const DepthwiseParams& params, int64_t first_row, int64_t last_row);

}  // namespace spatialmamba
