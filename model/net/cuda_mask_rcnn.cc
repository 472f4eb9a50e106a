#include "model/net/cuda_mask_rcnn.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "model/net/arena_plan.h"
#include "model/ops/layer_norm_cuda.h"
#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

DetectSizes SizesOf(const ModelSpec& spec, int64_t max_detections) {
  if (max_detections < 1 || max_detections > CudaRpn::kLimit) {
    throw std::invalid_argument("head.max_detections: at most " + std::to_string(CudaRpn::kLimit) +
                                " on a GPU, not " + std::to_string(max_detections) +
                                ": lower it, or run this model with `device: cpu`");
  }
  if (spec.detect.fpn_channels % 8 != 0 || spec.detect.fc_channels % 8 != 0) {
    throw CheckpointError(
        "the detector's heads have " + std::to_string(spec.detect.fpn_channels) + " and " +
        std::to_string(spec.detect.fc_channels) +
        " channels; on a GPU these must be multiples of 8: run this model on the CPU");
  }
  return {.classes = spec.classes, .limit = max_detections, .masks = spec.detect.masks};
}

}  // namespace

struct CudaMaskRcnn::Buffers {
  DevicePyramid pyramid;
  DeviceProposals proposals;
};

template <typename Arena>
CudaMaskRcnn::Buffers CudaMaskRcnn::TakeBuffers(Arena& arena,
                                                const DeviceCapacity& capacity) const {
  Buffers buffers;
  for (size_t i = 0; i < kPyramidLevels; ++i) {
    buffers.pyramid[i] =
        arena.Take(capacity.tokens[kFirstPyramidLevel + i], fpn_.channels(), backbone_.type());
  }
  const int64_t boxes = int64_t{capacity.images} * CudaRpn::kLimit;
  buffers.proposals = {TakeArray<DeviceBox>(arena, boxes), TakeArray<float>(arena, boxes),
                       TakeArray<int>(arena, capacity.images)};
  return buffers;
}

template <typename Arena>
DeviceDetections CudaMaskRcnn::TakeDetectionsOf(Arena& arena, int images) const {
  DeviceDetections detections;
  detections.images = images;
  detections.limit = static_cast<int>(sizes_.limit);
  const int64_t boxes = images * sizes_.limit;
  detections.queries = TakeArray<DeviceDetectQuery>(arena, images);
  detections.wanted = TakeArray<unsigned>(arena, images * ((sizes_.classes + 31) / 32));
  detections.errors = TakeArray<int>(arena, images);
  detections.counts = TakeArray<int>(arena, images);
  detections.boxes = TakeArray<DeviceBox>(arena, boxes);
  detections.scores = TakeArray<float>(arena, boxes);
  detections.labels = TakeArray<int>(arena, boxes);
  if (sizes_.masks) detections.masks = TakeArray<float>(arena, boxes * kMaskSide * kMaskSide);
  return detections;
}

CudaMaskRcnn::CudaMaskRcnn(const ModelSpec& spec, const BoundTensors& tensors,
                           DeviceWeights& weights, int64_t max_detections)
    : sizes_(SizesOf(spec, max_detections)),
      backbone_(spec.variant, tensors, "backbone.", weights),
      fpn_(tensors, "neck", spec.variant.dims(), spec.detect.fpn_channels, weights),
      rpn_(tensors, "rpn_head", spec.detect.fpn_channels, weights),
      box_head_(tensors, "roi_head.bbox_head",
                {.channels = spec.detect.fpn_channels,
                 .hidden = spec.detect.fc_channels,
                 .classes = spec.classes},
                weights) {
  for (size_t i = 0; i < norms_.size(); ++i) {
    norms_[i] = weights.Norm(MakeNorm(tensors, "backbone.outnorm" + std::to_string(i)));
  }
  if (spec.detect.masks) {
    mask_head_.emplace(tensors, "roi_head.mask_head", spec.detect.fpn_channels, weights);
  }
}

DeviceDetections CudaMaskRcnn::TakeDetections(DeviceArena& arena,
                                              const DeviceCapacity& capacity) const {
  return TakeDetectionsOf(arena, capacity.images);
}

size_t CudaMaskRcnn::HeadBytes(const DeviceCapacity& capacity) const {
  const int limit = static_cast<int>(sizes_.limit);
  ArenaPlan plan;
  TakeBuffers(plan, capacity);
  size_t most = std::max({fpn_.WorkspaceBytes(capacity), rpn_.WorkspaceBytes(capacity),
                          box_head_.WorkspaceBytes(capacity, limit)});
  if (mask_head_) most = std::max(most, mask_head_->WorkspaceBytes(capacity, limit));
  return plan.most() + most;
}

// The norms of the backbone's maps stay while its own memory becomes that of the heads.
size_t CudaMaskRcnn::WorkspaceBytes(const DeviceCapacity& capacity) const {
  ArenaPlan plan;
  TakeDetectionsOf(plan, capacity.images);
  for (size_t i = 0; i < norms_.size(); ++i) {
    plan.Take(capacity.tokens[kFirstPyramidLevel + i], backbone_.variant().dims()[i],
              backbone_.type());
  }
  return plan.most() + std::max(backbone_.WorkspaceBytes(capacity), HeadBytes(capacity));
}

void CudaMaskRcnn::Detect(DeviceArena& arena, const DeviceGeometry& geometry,
                          std::span<const DeviceMap, 4> features,
                          const DeviceDetections& detections, CUstream_st* stream) const {
  const DeviceCapacity& capacity = geometry.capacity();
  if (detections.images < capacity.images) {
    throw std::invalid_argument("CudaMaskRcnn: no room for the detections of all images");
  }
  DeviceDetections own = detections;
  own.images = capacity.images;
  const size_t before = arena.used();
  const Buffers buffers = TakeBuffers(arena, capacity);
  ZeroDevice(own.errors, static_cast<size_t>(own.images) * sizeof(int), stream);
  fpn_.Forward(arena, geometry, features, buffers.pyramid, stream);
  rpn_.Forward(arena, geometry, buffers.pyramid, own, buffers.proposals, stream);
  box_head_.Forward(arena, geometry, buffers.pyramid, buffers.proposals, own, stream);
  if (mask_head_) mask_head_->Forward(arena, geometry, buffers.pyramid, own, stream);
  arena.Rewind(before);
}

void CudaMaskRcnn::Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
                           const DeviceDetections& detections, CUstream_st* stream) const {
  const size_t before = arena.used();
  std::array<DeviceMap, 4> normed;
  for (size_t i = 0; i < normed.size(); ++i) {
    normed[i] = arena.Take(geometry.level(kFirstPyramidLevel + i).tokens,
                           backbone_.variant().dims()[i], backbone_.type());
  }
  const auto norm = [&](size_t stage, const DeviceMap& map) {
    const DeviceLevel& level = geometry.level(kFirstPyramidLevel + stage);
    LayerNormCuda(map, norms_[stage].gain, norms_[stage].bias, level.counts + kTokenCount,
                  level.tokens, normed[stage], stream);
  };
  backbone_.Forward(arena, geometry, images, norm, stream);
  Detect(arena, geometry, normed, detections, stream);
  arena.Rewind(before);
}

}  // namespace spatialmamba
