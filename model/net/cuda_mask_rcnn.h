#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "model/net/cuda_backbone.h"
#include "model/net/cuda_box_head.h"
#include "model/net/cuda_detect_answers.h"
#include "model/net/cuda_fpn.h"
#include "model/net/cuda_mask_head.h"
#include "model/net/cuda_rpn.h"
#include "model/net/device_geometry.h"
#include "model/net/device_weights.h"
#include "model/net/model_spec.h"
#include "model/ops/device_arena.h"

namespace spatialmamba {

// mask_rcnn.h on a GPU. Const after construction. A forward only launches kernels and can be
// captured: nothing in it depends on what is found, and the host waits for nothing.
//
//   arena.Reserve(network.WorkspaceBytes(capacity));  // and never again while a capture is kept
//   const DeviceDetections detections = network.TakeDetections(arena, capacity);
//   // for each batch:
//   const CudaDetectAnswers answers(queries, network.sizes());
//   geometry.Fill(spans, stream);
//   answers.Upload(detections, host, stream);
//   network.Forward(arena, geometry, images, detections, stream);  // captured or not
//   answers.Launch(detections, host, stream);
//
// `detections` lie in the arena, which must not be rewound before them; the next batch may be
// uploaded once the answers of the one before are copied (the stream's order sees to that).
// Geometries of several captures may share the arena and the detections, if each has at most their
// images.
class CudaMaskRcnn {
 public:
  // `tensors` holds what MaskRcnnTensors(spec) lists, bound with fp32 matrices. max_detections: the
  // most that a query may ask for. Throws CheckpointError if the GPU kernels do not know such sizes
  // (channels in multiples of 8, dim of 16), std::invalid_argument if max_detections is not 1 to
  // 1000.
  CudaMaskRcnn(const ModelSpec& spec, const BoundTensors& tensors, DeviceWeights& weights,
               int64_t max_detections);

  const DetectSizes& sizes() const { return sizes_; }

  // The detections, and what Forward takes of the arena and gives back.
  size_t WorkspaceBytes(const DeviceCapacity& capacity) const;
  DeviceDetections TakeDetections(DeviceArena& arena, const DeviceCapacity& capacity) const;

  // images: normalised pixels, fp32 [tokens, 3] without gaps, in device memory, padded as the
  // caller wishes. Images of a batch may differ in size; each gets the bits that it would get
  // alone. Throws std::invalid_argument if the detections have no room for the geometry's images.
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               const DeviceDetections& detections, CUstream_st* stream) const;

  // Forward's second half: features are the backbone's four maps after their norms. Takes
  // HeadBytes from the arena and gives them back.
  void Detect(DeviceArena& arena, const DeviceGeometry& geometry,
              std::span<const DeviceMap, 4> features, const DeviceDetections& detections,
              CUstream_st* stream) const;
  size_t HeadBytes(const DeviceCapacity& capacity) const;

 private:
  struct Buffers;
  template <typename Arena>
  Buffers TakeBuffers(Arena& arena, const DeviceCapacity& capacity) const;
  template <typename Arena>
  DeviceDetections TakeDetectionsOf(Arena& arena, int images) const;

  DetectSizes sizes_;
  CudaBackbone backbone_;
  std::array<DeviceNorm, 4> norms_;
  CudaFpn fpn_;
  CudaRpn rpn_;
  CudaBoxHead box_head_;
  std::optional<CudaMaskHead> mask_head_;
};

}  // namespace spatialmamba
