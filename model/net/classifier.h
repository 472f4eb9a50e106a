#pragma once

#include <span>

#include "model/net/backbone.h"

namespace spatialmamba {

// Backbone, LayerNorm, mean over all tokens, linear layer. Const after construction.
class Classifier {
 public:
  // `tensors` holds what ClassifierTensors(variant, classes) lists.
  Classifier(const Variant& variant, int64_t classes, const BoundTensors& tensors);

  // images: normalised pixels [tokens, 3] -> logits [images, classes]. Resets the arena. `on_stage`
  // sees the maps on their way.
  void Forward(Context& context, Arena& arena, ConstView images, std::span<const Span> spans,
               View logits, Backbone::OnStage on_stage) const;
  void Forward(Context& context, Arena& arena, ConstView images, std::span<const Span> spans,
               View logits) const;

  int64_t WorkspaceFloats(std::span<const Span> spans) const;
  int64_t classes() const { return head_.weights.outputs(); }

 private:
  Backbone backbone_;
  NormLayer norm_;
  LinearLayer head_;
};

}  // namespace spatialmamba
