#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/net/backbone.h"
#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/net/segmentation.h"
#include "model/net/uper_head.h"

namespace spatialmamba {

// What the head says of each pixel of a quarter of the input's resolution.
struct SegmentLogits {
  ConstView logits;         // [tokens, classes]
  std::vector<Span> spans;  // of the images' tokens
};

// UPerNet (arXiv 1807.10221) on the Spatial-Mamba backbone, with mmseg's test semantics: the logits
// are enlarged bilinearly to the network's input, then to the picture's own size, and a pixel's
// label is the first of the largest. Const after construction.
class UperNet {
 public:
  // `tensors` holds what UperNetTensors(spec) lists.
  UperNet(const ModelSpec& spec, const BoundTensors& tensors);

  // images: normalised pixels [tokens, 3], without padding; one query an image. Images of a batch
  // may differ in size; each gets the bits that it would get alone. Resets the arena. Throws
  // std::invalid_argument if sizes do not fit, and std::domain_error if the network's numbers are
  // not finite.
  std::vector<SegmentOutput> Forward(Context& context, Arena& arena, ConstView images,
                                     std::span<const Span> spans,
                                     std::span<const SegmentQuery> queries) const;

  // What a forward takes from the arena.
  int64_t WorkspaceFloats(std::span<const Span> spans) const;

  // Forward's two halves, for a look in between. FillLogits resets the arena; the logits stay valid
  // until it is reset again. Label's spans are those of the network's input.
  SegmentLogits FillLogits(Context& context, Arena& arena, ConstView images,
                           std::span<const Span> spans) const;
  static std::vector<SegmentOutput> Label(Context& context, const SegmentLogits& head,
                                          std::span<const Span> spans,
                                          std::span<const SegmentQuery> queries);

 private:
  Backbone backbone_;
  std::array<NormLayer, 4> norms_;
  UperHead head_;
};

}  // namespace spatialmamba
