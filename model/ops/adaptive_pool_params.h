#pragma once

#include <cstdint>

namespace spatialmamba {

// A rectangle of an image x [.., width, channels], not empty; last_row and last_column are not part
// of it.
struct PoolBinParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t first_row = 0;
  int64_t last_row = 0;
  int64_t first_column = 0;
  int64_t last_column = 0;
  float* out = nullptr;  // [channels]: the average
};

// `scratch`: [channels].
void AveragePoolBinCpu(const PoolBinParams& params, float* scratch);

}  // namespace spatialmamba
