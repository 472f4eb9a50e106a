#pragma once

#include <array>
#include <cstddef>

#include "model/net/cuda_backbone.h"
#include "model/net/cuda_segment_answers.h"
#include "model/net/cuda_uper_head.h"
#include "model/net/device_geometry.h"
#include "model/net/device_weights.h"
#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/ops/device_arena.h"

namespace spatialmamba {

// upernet.h on a GPU, up to the logits; cuda_segment_answers.h makes labels of them. Const after
// construction. A forward only launches kernels and can be captured:
//
//   arena.Reserve(network.WorkspaceBytes(capacity));  // and never again while a capture is kept
//   const DeviceSegmentation segmentation = network.TakeOutputs(arena, capacity);
//   network.FillLogits(arena, geometry, images, segmentation, stream);  // captured or not
//
// The outputs lie in the arena: they are to be copied (CudaSegmentAnswers::Launch) before anything
// else uses it. Rewinding the arena behind them does no harm.
class CudaUperNet {
 public:
  // `tensors` holds what UperNetTensors(spec) lists, bound with fp32 matrices. Throws
  // CheckpointError if the GPU kernels do not know such sizes (channels in multiples of 8, dim of
  // 16), std::invalid_argument if the pool scales make no sense.
  CudaUperNet(const ModelSpec& spec, const BoundTensors& tensors, DeviceWeights& weights);

  // The outputs, and what FillLogits takes of the arena and gives back.
  size_t WorkspaceBytes(const DeviceCapacity& capacity) const;
  DeviceSegmentation TakeOutputs(DeviceArena& arena, const DeviceCapacity& capacity) const;

  // images: normalised pixels, fp32 [tokens, 3] without padding, in device memory. Images of a
  // batch may differ in size; each gets the bits that it would get alone.
  void FillLogits(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
                  const DeviceSegmentation& outputs, CUstream_st* stream) const;

  int classes() const { return head_.classes(); }

 private:
  size_t OutputBytes(const DeviceCapacity& capacity) const;

  CudaBackbone backbone_;
  std::array<DeviceNorm, 4> norms_;
  CudaUperHead head_;
};

}  // namespace spatialmamba
