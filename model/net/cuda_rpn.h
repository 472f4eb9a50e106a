#pragma once

#include <cstddef>
#include <string>

#include "model/net/cuda_detect_answers.h"
#include "model/net/cuda_fpn.h"
#include "model/ops/device_boxes.h"

namespace spatialmamba {

// Boxes that may hold an object, in device memory.
struct DeviceProposals {
  DeviceBox* boxes = nullptr;  // [images, CudaRpn::kLimit], best first
  float* scores = nullptr;     // the same
  int* counts = nullptr;       // [images]
};

// rpn.h on a GPU. Const after construction; a forward only launches kernels.
class CudaRpn {
 public:
  static constexpr int kLimit = 1000;

  CudaRpn(const BoundTensors& tensors, const std::string& key, int64_t channels,
          DeviceWeights& weights);

  // Proposals of every image; reads the queries of `detections` and raises its errors: an image
  // with one has no proposals. Takes WorkspaceBytes from the arena and gives them back.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const DevicePyramid& pyramid,
               const DeviceDetections& detections, const DeviceProposals& proposals,
               CUstream_st* stream) const;

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const;

 private:
  struct Buffers;
  template <typename Arena>
  Buffers TakeBuffers(Arena& arena, const DeviceCapacity& capacity) const;

  DeviceType type_;
  DeviceLinear conv_;
  DeviceLinear predict_;  // three times four deltas, then three logits
};

}  // namespace spatialmamba
