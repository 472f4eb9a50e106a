#pragma once

#include <cstdint>

#include "model/ops/bilinear_axis.h"

namespace spatialmamba {

// One map of one image: products [.., width, 9 * channels], and what they are added to, [height,
// sum_width, channels].
struct UpsampledTapsParams {
  const float* products = nullptr;
  int64_t products_stride = 0;
  int64_t width = 0;
  int64_t channels = 0;
  const BilinearSample* rows = nullptr;     // [height]
  const BilinearSample* columns = nullptr;  // [sum_width]
  float* sum = nullptr;
  int64_t sum_stride = 0;
  int64_t height = 0;
  int64_t sum_width = 0;
  bool relu = false;  // of the sum, then
};

// Columns [first_column, last_column) of one row of the sum. `scratch`: 3 * channels for each
// column of the map that they and their neighbours read.
void AddUpsampledTapsCpu(const UpsampledTapsParams& params, int64_t row, int64_t first_column,
                         int64_t last_column, float* scratch);

}  // namespace spatialmamba
