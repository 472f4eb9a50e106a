#pragma once

#include "model/net/cuda_backbone.h"

namespace spatialmamba {

// classifier.h on a GPU. Const after construction. A forward only launches kernels and can be
// captured.
class CudaClassifier {
 public:
  // `tensors` holds what ClassifierTensors(variant, classes) lists, bound with fp32 matrices.
  CudaClassifier(const Variant& variant, int64_t classes, const BoundTensors& tensors,
                 DeviceWeights& weights);

  // images: normalised pixels, fp32 [tokens, 3] without padding -> logits, fp32 [images, classes];
  // both in device memory. Takes WorkspaceBytes from the arena and gives them back. `on_stage` sees
  // the maps on their way.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               const DeviceMap& logits, CudaBackbone::OnStage on_stage, CUstream_st* stream) const;
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               const DeviceMap& logits, CUstream_st* stream) const;

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const;
  int64_t classes() const { return head_.outputs; }

 private:
  CudaBackbone backbone_;
  DeviceNorm norm_;
  DeviceLinear head_;
};

}  // namespace spatialmamba
