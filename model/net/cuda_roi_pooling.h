#pragma once

#include "model/net/cuda_fpn.h"
#include "model/ops/roi_align_cuda.h"

namespace spatialmamba {

// The cells of a piece of the boxes, side * side rows of `out` for each, from a pyramid's first
// four levels.
inline void PoolRois(const DeviceGeometry& geometry, const DevicePyramid& pyramid,
                     const DeviceRois& rois, int piece, int side, const DeviceMap& out,
                     CUstream_st* stream) {
  DeviceRoiAlign pool;
  for (size_t i = 0; i < kRoiLevels; ++i) {
    pool.maps[i] = pyramid[i];
    pool.levels[i] = geometry.level(kFirstPyramidLevel + i);
    pool.strides[i] = 4 << i;
  }
  pool.rois = rois;
  pool.piece = piece;
  pool.cells = side;
  pool.out = out;
  RoiAlignCuda(pool, stream);
}

}  // namespace spatialmamba
