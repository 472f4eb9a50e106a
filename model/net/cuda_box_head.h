#pragma once

#include <cstddef>
#include <string>

#include "model/net/box_head.h"
#include "model/net/cuda_rpn.h"

namespace spatialmamba {

// box_head.h on a GPU. Const after construction; a forward only launches kernels.
class CudaBoxHead {
 public:
  CudaBoxHead(const BoundTensors& tensors, const std::string& key, const BoxHeadSizes& sizes,
              DeviceWeights& weights);

  // Fills the boxes, scores, labels and counts of `detections` from the proposals; reads its
  // queries and raises its errors: an image with one has no detections. Takes WorkspaceBytes from
  // the arena and gives them back.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const DevicePyramid& pyramid,
               const DeviceProposals& proposals, const DeviceDetections& detections,
               CUstream_st* stream) const;

  // limit: detections of an image, at most.
  size_t WorkspaceBytes(const DeviceCapacity& capacity, int limit) const;

 private:
  struct Buffers;
  template <typename Arena>
  Buffers TakeBuffers(Arena& arena, int images, int limit) const;
  void Predict(const DeviceGeometry& geometry, const DevicePyramid& pyramid, const Buffers& buffers,
               int piece, CUstream_st* stream) const;
  void Select(const Buffers& buffers, const int* image_count, const DeviceProposals& proposals,
              const DeviceDetections& detections, CUstream_st* stream) const;

  DeviceType type_;
  int channels_;
  int classes_;
  DeviceLinear first_;
  DeviceLinear second_;
  DeviceLinear predict_;  // four deltas a class, then the logits
};

}  // namespace spatialmamba
