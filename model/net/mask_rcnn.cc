#include "model/net/mask_rcnn.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "model/net/roi_levels.h"
#include "model/ops/layer_norm.h"

namespace spatialmamba {
namespace {

// Boxes of all images in one list, and where each image's begin.
struct AllRois {
  std::vector<Roi> rois;
  std::vector<int64_t> first;
};

AllRois Gathered(std::span<const Proposals> proposals) {
  AllRois all;
  const auto images = static_cast<int64_t>(proposals.size());
  for (int64_t image = 0; image < images; ++image) {
    all.first.push_back(static_cast<int64_t>(all.rois.size()));
    for (const Box& box : proposals[static_cast<size_t>(image)].boxes) {
      all.rois.push_back(RoiOf(box, image, images));
    }
  }
  return all;
}

}  // namespace

MaskRcnn::MaskRcnn(const ModelSpec& spec, const BoundTensors& tensors)
    : backbone_(spec.variant, tensors, "backbone."),
      fpn_(tensors, "neck", spec.variant.dims(), spec.detect.fpn_channels),
      rpn_(tensors, "rpn_head", spec.detect.fpn_channels),
      box_head_(tensors, "roi_head.bbox_head",
                {.channels = spec.detect.fpn_channels,
                 .hidden = spec.detect.fc_channels,
                 .classes = spec.classes}) {
  for (size_t i = 0; i < norms_.size(); ++i) {
    norms_[i] = MakeNorm(tensors, "backbone.outnorm" + std::to_string(i));
  }
  if (spec.detect.masks) {
    mask_head_.emplace(tensors, "roi_head.mask_head", spec.detect.fpn_channels);
  }
}

// The norms of the backbone's maps stay while its own memory becomes that of the heads.
int64_t MaskRcnn::WorkspaceFloats(std::span<const Span> spans) const {
  const Pyramid pyramid = PyramidOf(spans);
  int64_t normed = 0;
  int64_t levels = 0;
  for (size_t i = 0; i < kPyramidLevels; ++i) {
    if (i < 4) normed += Arena::Floats(pyramid[i].tokens(), backbone_.variant().dims()[i]);
    levels += Arena::Floats(pyramid[i].tokens(), fpn_.channels());
  }
  const int64_t rois = Rpn::kLimit * static_cast<int64_t>(spans.size());
  int64_t head =
      std::max({fpn_.WorkspaceFloats(pyramid), rpn_.WorkspaceFloats(pyramid),
                box_head_.WorkspaceFloats(rois) + Arena::Floats(rois, box_head_.outputs())});
  if (mask_head_) head = std::max(head, mask_head_->WorkspaceFloats());
  return normed + std::max(backbone_.WorkspaceFloats(spans), levels + head);
}

Pyramid MaskRcnn::FillPyramid(Context& context, Arena& arena, ConstView images,
                              std::span<const Span> spans) const {
  arena.Reset(WorkspaceFloats(spans));
  Pyramid pyramid = PyramidOf(spans);
  std::array<View, 4> normed;
  std::array<ConstView, 4> features;
  for (size_t i = 0; i < 4; ++i) {
    normed[i] = arena.Take(pyramid[i].tokens(), backbone_.variant().dims()[i]);
    features[i] = normed[i];
  }
  const int64_t before = arena.used();
  backbone_.Forward(context, arena, images, spans,
                    [&](size_t stage, ConstView map, std::span<const Span>) {
                      LayerNorm(context, map, norms_[stage].view(), normed[stage]);
                    });
  arena.Rewind(before);
  for (PyramidLevel& level : pyramid) level.map = arena.Take(level.tokens(), fpn_.channels());
  fpn_.Forward(context, arena, features, pyramid);
  return pyramid;
}

std::vector<DetectOutput> MaskRcnn::Detect(Context& context, Arena& arena, const Pyramid& pyramid,
                                           std::span<const DetectQuery> queries) const {
  if (queries.size() != pyramid[0].spans.size()) {
    throw std::invalid_argument("MaskRcnn: there must be one query for each image");
  }
  std::vector<PixelSize> valid;
  for (const DetectQuery& query : queries) valid.push_back(query.valid);
  const std::vector<Proposals> proposals = rpn_.Forward(context, arena, pyramid, valid);
  const std::vector<RoiMap> maps = RoiMaps(pyramid);
  const AllRois all = Gathered(proposals);
  const int64_t before = arena.used();
  const View scored = arena.Take(static_cast<int64_t>(all.rois.size()), box_head_.outputs());
  box_head_.Forward(context, arena, maps, all.rois, scored);
  std::vector<DetectOutput> outputs(queries.size());
  {
    const OpScope scope(context, {.op = "detections_nms", .rows = scored.rows});
    context.ParallelFor(static_cast<int64_t>(queries.size()), [&](int64_t item, int) {
      const auto image = static_cast<size_t>(item);
      const std::vector<Box>& boxes = proposals[image].boxes;
      const ConstView own{scored.row(all.first[image]), static_cast<int64_t>(boxes.size()),
                          scored.channels, scored.stride};
      outputs[image].detections = box_head_.Select(own, boxes, queries[image]);
    });
  }
  arena.Rewind(before);
  if (mask_head_) AddMasks(context, arena, maps, queries, outputs);
  return outputs;
}

void MaskRcnn::AddMasks(Context& context, Arena& arena, std::span<const RoiMap> maps,
                        std::span<const DetectQuery> queries,
                        std::span<DetectOutput> outputs) const {
  constexpr int64_t kPixels = kMaskSide * kMaskSide;
  std::vector<Roi> rois;
  std::vector<int64_t> labels;
  const auto images = static_cast<int64_t>(outputs.size());
  for (int64_t image = 0; image < images; ++image) {
    if (!queries[static_cast<size_t>(image)].masks) continue;
    for (const Detection& found : outputs[static_cast<size_t>(image)].detections) {
      rois.push_back(RoiOf(found.box, image, images));
      labels.push_back(found.label);
    }
  }
  std::vector<float> probabilities(rois.size() * static_cast<size_t>(kPixels));
  mask_head_->Forward(context, arena, maps, rois, labels,
                      {probabilities.data(), static_cast<int64_t>(rois.size()), kPixels, kPixels});
  auto from = probabilities.begin();
  for (size_t image = 0; image < outputs.size(); ++image) {
    if (!queries[image].masks) continue;
    const auto count = static_cast<int64_t>(outputs[image].detections.size()) * kPixels;
    outputs[image].mask_probabilities.assign(from, from + count);
    from += count;
  }
}

std::vector<DetectOutput> MaskRcnn::Forward(Context& context, Arena& arena, ConstView images,
                                            std::span<const Span> spans,
                                            std::span<const DetectQuery> queries) const {
  if (queries.size() != spans.size()) {
    throw std::invalid_argument("MaskRcnn: there must be one query for each image");
  }
  const Pyramid pyramid = FillPyramid(context, arena, images, spans);
  return Detect(context, arena, pyramid, queries);
}

}  // namespace spatialmamba
