#pragma once

#include <cstdint>

namespace spatialmamba {

// One image x [height, width, channels], rows of tokens at x_stride elements.
struct PatchParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t step = 1;
};

// The 3x3 neighbourhoods (zero outside the image) of output tokens [first, last), one after the
// other in `patches` [last - first, 9 * channels], in the order row, column, channel.
void GatherPatchesCpu(const PatchParams& params, int64_t first, int64_t last, float* patches);

}  // namespace spatialmamba
