#pragma once

#include <array>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/net/device_geometry.h"
#include "model/net/device_weights.h"
#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/ops/depthwise_cuda.h"
#include "model/ops/device_arena.h"
#include "model/ops/scan_cuda.h"
#include "model/ops/state_fusion_cuda.h"

namespace spatialmamba {

// The Spatial-Mamba backbone of backbone.h on a GPU. Const after construction. A forward only
// launches kernels: no allocation, no wait, nothing that a capture could not record.
class CudaBackbone {
 public:
  // `tensors` holds what BackboneTensors(variant, prefix, ...) lists, bound with fp32 matrices.
  // Throws std::invalid_argument if the GPU kernels do not know the variant (dim must be a multiple
  // of 16, at most 96).
  CudaBackbone(const Variant& variant, const BoundTensors& tensors, const std::string& prefix,
               DeviceWeights& weights);

  // A stage's output before its down-sampling, at level 2 + stage of the geometry; valid for what
  // is launched during the call.
  using OnStage = absl::FunctionRef<void(size_t stage, const DeviceMap& map)>;

  // images: normalised pixels, fp32 [tokens, 3] without padding, in device memory. Takes
  // WorkspaceBytes from the arena and gives them back.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               OnStage on_stage, CUstream_st* stream) const;

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const;

  const Variant& variant() const { return variant_; }
  DeviceType type() const { return type_; }

 private:
  struct Block {
    DeviceDepthwise cpe1;
    DeviceNorm norm1;
    DeviceLinear in_proj;
    DeviceDepthwise conv;
    DeviceLinear x_proj;
    DeviceScan scan;
    DeviceFusion fusion;
    DeviceLinear out_proj;
    DeviceDepthwise cpe2;
    DeviceNorm norm2;
    DeviceLinear fc1;
    DeviceLinear fc2;
  };
  struct DownSampling {
    DeviceLinear expand;
    DeviceDepthwise conv;
    DeviceLinear project;
  };
  struct Buffers;
  struct Sizes;

  static Block Uploaded(const BlockLayer& block, DeviceWeights& weights);
  Sizes Plan(const DeviceCapacity& capacity) const;
  void RunStem(const Buffers& buffers, const DeviceGeometry& geometry, const float* images,
               CUstream_st* stream) const;
  void RunBlock(const Buffers& buffers, const Block& block, int64_t dim, const DeviceLevel& level,
                CUstream_st* stream) const;
  void RunDownSampling(const Buffers& buffers, size_t stage, const DeviceGeometry& geometry,
                       CUstream_st* stream) const;

  Variant variant_;
  DeviceType type_;
  const float* conv1_weights_;  // [27, dim / 2]
  const float* conv1_bias_;
  DeviceLinear conv2a_;
  DeviceLinear conv2b_;
  DeviceLinear conv3_;
  DeviceLinear project_;
  std::array<std::vector<Block>, 4> blocks_;
  std::array<DownSampling, 3> downs_;
};

}  // namespace spatialmamba
