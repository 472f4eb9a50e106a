#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/net/cuda_pyramid_bottleneck.h"
#include "model/net/device_weights.h"
#include "model/net/layers.h"
#include "model/ops/device_arena.h"

namespace spatialmamba {

// pooling_pyramid.h on a GPU. Const after construction.
class CudaPoolingPyramid {
 public:
  // `tensors` holds psp_modules and bottleneck below `key`. inputs: the map's channels; scales: the
  // grids' sides. Throws std::invalid_argument if there is none or one is not positive,
  // CheckpointError if the GPU kernels do not know such sizes.
  CudaPoolingPyramid(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                     const std::vector<int64_t>& scales, DeviceWeights& weights);

  // x: the map of that level; out: [its tokens, channels]. Takes WorkspaceBytes from the arena and
  // gives them back.
  void Forward(DeviceArena& arena, const DeviceMap& x, const DeviceLevel& level,
               const DeviceMap& out, CUstream_st* stream) const;

  size_t WorkspaceBytes(int images) const;

 private:
  // Cells of all images of each grid.
  std::vector<int64_t> Cells(int images) const;

  DeviceType type_;
  std::vector<int> scales_;
  std::vector<DeviceLinear> convs_;
  CudaPyramidBottleneck bottleneck_;
};

}  // namespace spatialmamba
