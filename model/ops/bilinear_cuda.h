#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// bilinear.h on a GPU: sum += x, each image resized from its size in `level` to that in
// `sum_level`. Maps have one type and a number of channels that is a multiple of 8. Throws
// std::invalid_argument if they do not fit.
void AddBilinearCuda(const DeviceMap& x, const DeviceLevel& level, const DeviceMap& sum,
                     const DeviceLevel& sum_level, CUstream_st* stream);

}  // namespace spatialmamba
