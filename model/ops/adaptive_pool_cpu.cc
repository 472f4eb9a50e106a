#include <algorithm>

#include "model/ops/adaptive_pool_params.h"

namespace spatialmamba {

// Row by row into `scratch`, then the rows together: the longest chain of roundings is that of a
// side, not of the area.
void AveragePoolBinCpu(const PoolBinParams& p, float* scratch) {
  std::fill_n(p.out, p.channels, 0.0F);
  for (int64_t y = p.first_row; y < p.last_row; ++y) {
    std::fill_n(scratch, p.channels, 0.0F);
    for (int64_t x = p.first_column; x < p.last_column; ++x) {
      const float* token = p.x + (y * p.width + x) * p.x_stride;
      for (int64_t c = 0; c < p.channels; ++c) scratch[c] += token[c];
    }
    for (int64_t c = 0; c < p.channels; ++c) p.out[c] += scratch[c];
  }
  const auto area =
      static_cast<float>((p.last_row - p.first_row) * (p.last_column - p.first_column));
  for (int64_t c = 0; c < p.channels; ++c) p.out[c] /= area;
}

}  // namespace spatialmamba
