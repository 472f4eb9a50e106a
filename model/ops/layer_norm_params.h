#pragma once

#include <cstdint>

#include "model/ops/norm.h"

namespace spatialmamba {

// Rows of `channels` values; strides in elements.
struct LayerNormParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t channels = 0;
  NormWeights norm;
  float* out = nullptr;
  int64_t out_stride = 0;
};

void LayerNormCpu(const LayerNormParams& params, int64_t first_row, int64_t last_row);

}  // namespace spatialmamba
