#include "model/net/classifier.h"

#include "model/ops/gemm.h"
#include "model/ops/layer_norm.h"

namespace spatialmamba {

Classifier::Classifier(const Variant& variant, int64_t classes, const BoundTensors& tensors)
    : backbone_(variant, tensors, ""),
      norm_(MakeNorm(tensors, "norm")),
      head_(MakeLinear(tensors, "head.weight", "head.bias", classes, variant.dims()[3],
                       MatrixType::kFloat32)) {}

int64_t Classifier::WorkspaceFloats(std::span<const Span> spans) const {
  int64_t tokens = 0;
  for (const Span& span : spans) tokens += ((span.height + 31) / 32) * ((span.width + 31) / 32);
  const int64_t channels = backbone_.variant().dims()[3];
  return backbone_.WorkspaceFloats(spans) + Arena::Floats(tokens, channels) +
         Arena::Floats(static_cast<int64_t>(spans.size()), channels);
}

void Classifier::Forward(Context& context, Arena& arena, ConstView images,
                         std::span<const Span> spans, View logits,
                         Backbone::OnStage on_stage) const {
  arena.Reset(WorkspaceFloats(spans));
  const auto head = [&](size_t stage, ConstView map, std::span<const Span> at) {
    on_stage(stage, map, at);
    if (stage != 3) return;
    const View normed = arena.Take(map.rows, map.channels);
    LayerNorm(context, map, norm_.view(), normed);
    const View pooled = arena.Take(static_cast<int64_t>(at.size()), map.channels);
    MeanOfTokens(context, normed, at, pooled);
    Gemm(context, pooled, head_.weights, {.bias = head_.bias_data()}, logits);
  };
  backbone_.Forward(context, arena, images, spans, head);
}

void Classifier::Forward(Context& context, Arena& arena, ConstView images,
                         std::span<const Span> spans, View logits) const {
  Forward(context, arena, images, spans, logits, [](size_t, ConstView, std::span<const Span>) {});
}

}  // namespace spatialmamba
