#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/net/backbone.h"
#include "model/net/box_head.h"
#include "model/net/detections.h"
#include "model/net/fpn.h"
#include "model/net/mask_head.h"
#include "model/net/model_spec.h"
#include "model/net/rpn.h"

namespace spatialmamba {

// Mask R-CNN (arXiv 1703.06870) on the Spatial-Mamba backbone, with mmdet's test semantics: FPN,
// region proposals, box head, class-wise suppression, and a mask head on the detections that are
// left. Const after construction.
class MaskRcnn {
 public:
  // `tensors` holds what MaskRcnnTensors(spec) lists.
  MaskRcnn(const ModelSpec& spec, const BoundTensors& tensors);

  // images: normalised pixels [tokens, 3], padded as the caller wishes; one query an image. Images
  // of a batch may differ in size; each gets the bits that it would get alone. Resets the arena.
  // Throws std::invalid_argument if sizes do not fit, and std::domain_error if the network's
  // numbers are not finite.
  std::vector<DetectOutput> Forward(Context& context, Arena& arena, ConstView images,
                                    std::span<const Span> spans,
                                    std::span<const DetectQuery> queries) const;

  // What a forward takes from the arena, whatever it finds.
  int64_t WorkspaceFloats(std::span<const Span> spans) const;

  // Forward's two halves, for a look in between. FillPyramid resets the arena; the maps stay valid
  // until it is reset again.
  Pyramid FillPyramid(Context& context, Arena& arena, ConstView images,
                      std::span<const Span> spans) const;
  std::vector<DetectOutput> Detect(Context& context, Arena& arena, const Pyramid& pyramid,
                                   std::span<const DetectQuery> queries) const;

  const Rpn& rpn() const { return rpn_; }
  const BoxHead& box_head() const { return box_head_; }
  bool has_masks() const { return mask_head_.has_value(); }

 private:
  void AddMasks(Context& context, Arena& arena, std::span<const RoiMap> maps,
                std::span<const DetectQuery> queries, std::span<DetectOutput> outputs) const;

  Backbone backbone_;
  std::array<NormLayer, 4> norms_;
  Fpn fpn_;
  Rpn rpn_;
  BoxHead box_head_;
  std::optional<MaskHead> mask_head_;
};

}  // namespace spatialmamba
