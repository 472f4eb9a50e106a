#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// The first convolution of the network: 3x3, stride 2, zero padding of one, ReLU.
// x: fp32 [tokens of `from`, 3] without gaps; weights [27, channels] (row, column, colour), bias
// [channels], fp32; out [tokens of `to`, channels], `to` the level of half the size. The channels
// are a multiple of 8. Throws std::invalid_argument if not, std::runtime_error if CUDA refuses the
// launch.
void StemConvCuda(const float* x, const DeviceLevel& from, const DeviceLevel& to,
                  const float* weights, const float* bias, const DeviceMap& out,
                  CUstream_st* stream);

}  // namespace spatialmamba
