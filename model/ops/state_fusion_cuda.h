#pragma once

#include "model/ops/depthwise_cuda.h"
#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// Weights of state fusion in device memory, as in state_fusion.h: taps [25, channels] in the order
// of kFusionOffsets, skip [channels].
struct DeviceFusion {
  const float* taps = nullptr;
  const float* skip = nullptr;
  DeviceNorm norm;
};

struct DeviceFusionInputs {
  DeviceMap h;
  DeviceMap c;  // fp32, one channel
  DeviceMap x;
  DeviceMap z;
};

// state_fusion.h on a GPU: out = LayerNorm(c * h' + skip * x) * SiLU(z), h' the sum of 25
// neighbours, those outside the image replaced by its nearest edge pixel. h, x, z and out have one
// type; out may be x, but not h or z. What the norm reads is rounded to that type. Throws
// std::invalid_argument if types or sizes do not fit, std::runtime_error if CUDA refuses a launch.
void StateFusionCuda(const DeviceFusionInputs& inputs, const DeviceLevel& level,
                     const DeviceFusion& weights, const DeviceMap& out, CUstream_st* stream);

}  // namespace spatialmamba
