#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "model/net/device_geometry.h"
#include "model/net/device_weights.h"
#include "model/net/layers.h"
#include "model/net/pyramid.h"
#include "model/ops/device_arena.h"

namespace spatialmamba {

// The geometry's level of a pyramid's first map.
inline constexpr size_t kFirstPyramidLevel = 2;

using DevicePyramid = std::array<DeviceMap, kPyramidLevels>;

// fpn.h on a GPU. Const after construction; a forward only launches kernels.
class CudaFpn {
 public:
  CudaFpn(const BoundTensors& tensors, const std::string& key, const std::array<int64_t, 4>& dims,
          int64_t channels, DeviceWeights& weights);

  // Fills the pyramid's maps, [tokens, channels] each; features are those of its first four levels.
  // Takes WorkspaceBytes from the arena and gives them back.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry,
               std::span<const DeviceMap, 4> features, const DevicePyramid& pyramid,
               CUstream_st* stream) const;

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const;
  int channels() const { return lateral_[0].outputs; }

 private:
  DeviceType type_;
  std::array<DeviceLinear, 4> lateral_;
  std::array<DeviceLinear, 4> output_;
};

}  // namespace spatialmamba
