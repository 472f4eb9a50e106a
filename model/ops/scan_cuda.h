#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// Weights of the selective scan in device memory, as in scan.h: step_weight [rank, channels],
// step_bias and decay [channels].
struct DeviceScan {
  int rank = 0;
  const float* step_weight = nullptr;
  const float* step_bias = nullptr;
  const float* decay = nullptr;
};

// scan.h on a GPU: x [tokens, channels] and h of one type, rbc [tokens, rank + 2] fp32. The
// recurrence is fp32. The sequence of an image is cut into chunks of a fixed length whose results
// compose (state -> decay * state + end), so that many threads share it; the cuts and the order in
// which chunks compose depend on nothing but a token's place in its image. Throws
// std::invalid_argument if types or sizes do not fit, std::runtime_error if CUDA refuses the
// launch.
void ScanCuda(const DeviceMap& x, const DeviceMap& rbc, const DeviceLevel& level,
              const DeviceScan& weights, const DeviceMap& h, CUstream_st* stream);

}  // namespace spatialmamba
