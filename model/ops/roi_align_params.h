#pragma once

#include <cstdint>

#include "model/ops/box.h"

namespace spatialmamba {

// One box on its map; its cells x cells x channels lie at out, cells out_stride elements apart.
struct RoiAlignParams {
  const float* map = nullptr;  // [height, width, channels], pixels map_stride elements apart
  int64_t map_stride = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  float scale = 1;
  Box box;
  int64_t cells = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// `scratch` has room for `scratch_floats` values.
void RoiAlignCpu(const RoiAlignParams& params, float* scratch, int64_t scratch_floats);

}  // namespace spatialmamba
