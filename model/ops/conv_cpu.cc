#include <algorithm>

#include "model/ops/conv_params.h"

namespace spatialmamba {

void GatherPatchesCpu(const PatchParams& p, int64_t first, int64_t last, float* patches) {
  const int64_t out_width = (p.width + p.step - 1) / p.step;
  for (int64_t token = first; token < last; ++token) {
    const int64_t y = token / out_width * p.step;
    const int64_t x = token % out_width * p.step;
    for (int64_t row = y - 1; row <= y + 1; ++row) {
      for (int64_t column = x - 1; column <= x + 1; ++column, patches += p.channels) {
        if (row < 0 || row >= p.height || column < 0 || column >= p.width) {
          std::fill_n(patches, p.channels, 0.0F);
        } else {
          std::copy_n(p.x + (row * p.width + column) * p.x_stride, p.channels, patches);
        }
      }
    }
  }
}

}  // namespace spatialmamba
