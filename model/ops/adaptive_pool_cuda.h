#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

constexpr int kMostPoolGrids = 8;

// The grids that a map is averaged over.
struct DevicePoolGrids {
  int count = 0;
  int bins[kMostPoolGrids] = {};       // along a side
  DeviceMap out[kMostPoolGrids] = {};  // [images * bins * bins, channels], images back to back
  int* rows = nullptr;  // device memory, written: how many rows of each grid's `out` the batch has
};

// adaptive_pool.h on a GPU, over several grids at once. x: [tokens of level, channels], channels a
// multiple of 8; `out` has x's type, sums are fp32. The order of each sum is fixed by the image's
// size. Throws std::invalid_argument if maps do not fit.
void AdaptivePoolCuda(const DeviceMap& x, const DeviceLevel& level, const DevicePoolGrids& grids,
                      CUstream_st* stream);

}  // namespace spatialmamba
