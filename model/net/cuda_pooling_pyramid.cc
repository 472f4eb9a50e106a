#include "model/net/cuda_pooling_pyramid.h"

#include <algorithm>
#include <stdexcept>

#include "model/net/conv_unit.h"
#include "model/ops/adaptive_pool_cuda.h"
#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

// The map's own channels, then those of each scale.
std::vector<int64_t> Channels(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                              const std::vector<int64_t>& scales) {
  if (scales.empty() || *std::min_element(scales.begin(), scales.end()) < 1) {
    throw std::invalid_argument("pool scales must be positive, and there must be one");
  }
  if (scales.size() > kMostPoolGrids) {
    throw CheckpointError("the GPU kernels know at most " + std::to_string(kMostPoolGrids) +
                          " pool scales: serve this model on a CPU");
  }
  std::vector<int64_t> channels(
      scales.size() + 1, static_cast<int64_t>(tensors.at(key + ".bottleneck.bn.bias").size()));
  channels[0] = inputs;
  return channels;
}

}  // namespace

CudaPoolingPyramid::CudaPoolingPyramid(const BoundTensors& tensors, const std::string& key,
                                       int64_t inputs, const std::vector<int64_t>& scales,
                                       DeviceWeights& weights)
    : type_(weights.type()),
      scales_(scales.begin(), scales.end()),
      bottleneck_(tensors, key + ".bottleneck", Channels(tensors, key, inputs, scales), weights) {
  for (size_t i = 0; i < scales_.size(); ++i) {
    convs_.push_back(weights.Linear(
        MakeConvUnit(tensors, key + ".psp_modules." + std::to_string(i) + ".1", inputs, 1)));
  }
}

std::vector<int64_t> CudaPoolingPyramid::Cells(int images) const {
  std::vector<int64_t> cells;
  for (const int scale : scales_) cells.push_back(int64_t{images} * scale * scale);
  return cells;
}

size_t CudaPoolingPyramid::WorkspaceBytes(int images) const {
  const std::vector<int64_t> cells = Cells(images);
  size_t bytes =
      DeviceArena::RoundUp(cells.size() * sizeof(int)) + bottleneck_.WorkspaceBytes(cells);
  for (const int64_t count : cells) {
    bytes += DeviceArena::Bytes(count, convs_[0].inputs, type_) +
             DeviceArena::Bytes(count, convs_[0].outputs, type_);
  }
  return bytes;
}

void CudaPoolingPyramid::Forward(DeviceArena& arena, const DeviceMap& x, const DeviceLevel& level,
                                 const DeviceMap& out, CUstream_st* stream) const {
  const size_t before = arena.used();
  const std::vector<int64_t> cells = Cells(level.images);
  DevicePoolGrids grids;
  grids.count = static_cast<int>(scales_.size());
  grids.rows = static_cast<int*>(arena.TakeBytes(scales_.size() * sizeof(int)));
  for (size_t i = 0; i < scales_.size(); ++i) {
    grids.bins[i] = scales_[i];
    grids.out[i] = arena.Take(cells[i], x.channels, type_);
  }
  AdaptivePoolCuda(x, level, grids, stream);
  std::vector<DeviceEnlarged> maps;
  for (size_t i = 0; i < scales_.size(); ++i) {
    DeviceEnlarged& map = maps.emplace_back();
    map.map = arena.Take(cells[i], convs_[i].outputs, type_);
    map.side = scales_[i];
    map.rows = grids.rows + i;
    map.row_capacity = static_cast<int>(cells[i]);
    DeviceGemm conv = convs_[i].Gemm(grids.out[i], map.map);
    conv.activation = Activation::kRelu;
    conv.rows = map.rows;
    conv.row_capacity = map.row_capacity;
    GemmCuda(conv, stream);
  }
  bottleneck_.Forward(arena, x, level, maps, out, stream);
  arena.Rewind(before);
}

}  // namespace spatialmamba
