#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/net/device_weights.h"
#include "model/net/layers.h"
#include "model/ops/device_arena.h"
#include "model/ops/device_batch.h"

namespace spatialmamba {

// A map of all images of a batch that is to be enlarged.
struct DeviceEnlarged {
  DeviceMap map;
  const DeviceSpan* spans = nullptr;  // null: each image has a square of `side`
  int side = 0;
  const int* rows = nullptr;  // device memory: of the batch
  int row_capacity = 0;
};

// pyramid_bottleneck.h on a GPU: 3x3 convolution, BatchNorm and ReLU of several maps side by side,
// the others multiplied at their own size and enlarged to the first's. Const after construction.
class CudaPyramidBottleneck {
 public:
  // `tensors` holds conv and bn below `key`. channels: of the maps, in their order. Throws
  // CheckpointError if channels or outputs are not multiples of 8.
  CudaPyramidBottleneck(const BoundTensors& tensors, const std::string& key,
                        std::span<const int64_t> channels, DeviceWeights& weights);

  // first: the map of that level; out: [tokens of level, outputs], not in memory of a map. Takes
  // WorkspaceBytes from the arena and gives them back.
  void Forward(DeviceArena& arena, const DeviceMap& first, const DeviceLevel& level,
               std::span<const DeviceEnlarged> maps, const DeviceMap& out,
               CUstream_st* stream) const;

  // row_capacities: of the maps that are enlarged.
  size_t WorkspaceBytes(std::span<const int64_t> row_capacities) const;

  int outputs() const { return first_.outputs; }

 private:
  // Whole panels of outputs (upsampled_taps_cuda.h) whose products of all maps are held at the same
  // time.
  int OutputsAtOnce(int64_t rows) const;

  DeviceType type_;
  DeviceLinear first_;
  std::vector<DeviceLinear> products_;  // by map, outputs panel by panel
};

}  // namespace spatialmamba
