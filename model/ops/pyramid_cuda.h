#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// The two resizes of a feature pyramid, by whole pixels. Maps have one type and channels that are a
// multiple of 8; out must not overlap the other. Throw std::invalid_argument if they do not fit,
// std::runtime_error if CUDA refuses the launch.

// out = each pixel of `coarse` taken for two by two; `to` is the level of twice the size.
void EnlargeCuda(const DeviceMap& coarse, const DeviceLevel& from, const DeviceLevel& to,
                 const DeviceMap& out, CUstream_st* stream);

// out = every second pixel of x along both axes; `to` is the level of half the size.
void ThinCuda(const DeviceMap& x, const DeviceLevel& from, const DeviceLevel& to,
              const DeviceMap& out, CUstream_st* stream);

}  // namespace spatialmamba
