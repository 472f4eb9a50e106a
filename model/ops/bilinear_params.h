#pragma once

#include <cstdint>

#include "model/ops/bilinear_axis.h"

namespace spatialmamba {

// One image: x [.., width, channels] and sum [.., sum_width, channels], tokens at their strides.
struct BilinearParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t width = 0;
  int64_t channels = 0;
  const BilinearSample* rows = nullptr;     // [rows of sum]
  const BilinearSample* columns = nullptr;  // [sum_width]
  float* sum = nullptr;
  int64_t sum_stride = 0;
  int64_t sum_width = 0;
};

// Rows [first_row, last_row) of sum.
void AddBilinearCpu(const BilinearParams& params, int64_t first_row, int64_t last_row);

}  // namespace spatialmamba
