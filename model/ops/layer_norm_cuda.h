#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// layer_norm.h on a GPU. The channels are even; gain and bias fp32 [channels], epsilon 1e-5. Throw
// std::invalid_argument if sizes do not fit, std::runtime_error if CUDA refuses the launch.

// out = LayerNorm(x), row by row. `rows` in device memory says how many there are, at most
// `row_capacity`. x and out may have different types and be one.
void LayerNormCuda(const DeviceMap& x, const float* gain, const float* bias, const int* rows,
                   int row_capacity, const DeviceMap& out, CUstream_st* stream);

// out [images, channels] = of each image the mean over its tokens of LayerNorm(x).
void LayerNormMeanCuda(const DeviceMap& x, const DeviceLevel& level, const float* gain,
                       const float* bias, const DeviceMap& out, CUstream_st* stream);

}  // namespace spatialmamba
