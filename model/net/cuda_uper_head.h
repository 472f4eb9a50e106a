#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "model/net/cuda_pooling_pyramid.h"
#include "model/net/cuda_pyramid_bottleneck.h"
#include "model/net/device_geometry.h"
#include "model/net/device_weights.h"
#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/ops/device_arena.h"

namespace spatialmamba {

// uper_head.h on a GPU. Const after construction. A forward only launches kernels: no allocation of
// device memory, no wait, nothing that a capture could not record.
class CudaUperHead {
 public:
  // `tensors` holds what UperNetTensors lists below `key`, bound with fp32 matrices. Throws
  // CheckpointError if the GPU kernels do not know such sizes (channels in multiples of 8).
  CudaUperHead(const BoundTensors& tensors, const std::string& key, const ModelSpec& spec,
               DeviceWeights& weights);

  // features: the maps of levels 2 to 5 of the geometry, of the weights' type. logits: fp32 [tokens
  // of level 2, classes]. Takes WorkspaceBytes from the arena and gives them back.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry,
               const std::array<DeviceMap, 4>& features, const DeviceMap& logits,
               CUstream_st* stream) const;

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const;
  int classes() const { return classifier_.outputs; }

 private:
  int channels() const { return classifier_.inputs; }
  void FillLaterals(DeviceArena& arena, const DeviceGeometry& geometry,
                    const std::array<DeviceMap, 4>& features,
                    const std::array<DeviceMap, 4>& laterals, CUstream_st* stream) const;

  DeviceType type_;
  CudaPoolingPyramid pooling_;
  std::array<DeviceLinear, 3> lateral_;
  std::array<DeviceLinear, 3> output_;
  CudaPyramidBottleneck bottleneck_;
  DeviceLinear classifier_;
};

}  // namespace spatialmamba
