#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "model/net/cuda_detect_answers.h"
#include "model/net/cuda_fpn.h"
#include "model/ops/device_boxes.h"

namespace spatialmamba {

// mask_head.h on a GPU. Const after construction; a forward only launches kernels.
class CudaMaskHead {
 public:
  CudaMaskHead(const BoundTensors& tensors, const std::string& key, int64_t channels,
               DeviceWeights& weights);

  // Fills the masks of `detections`, of those images whose queries want them. Takes WorkspaceBytes
  // from the arena and gives them back.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const DevicePyramid& pyramid,
               const DeviceDetections& detections, CUstream_st* stream) const;

  // limit: detections of an image, at most.
  size_t WorkspaceBytes(const DeviceCapacity& capacity, int limit) const;

 private:
  struct Buffers;
  template <typename Arena>
  Buffers TakeBuffers(Arena& arena, int images, int limit) const;
  void FillPiece(const DeviceGeometry& geometry, const DevicePyramid& pyramid,
                 const Buffers& buffers, int piece, float* masks, CUstream_st* stream) const;

  DeviceType type_;
  int channels_;
  std::array<DeviceLinear, 4> convs_;
  DeviceLinear upsample_;
  const float* class_weights_;
  const float* class_bias_;
};

}  // namespace spatialmamba
