#include "model/net/uper_head.h"

#include <algorithm>
#include <vector>

#include "model/net/conv_unit.h"
#include "model/ops/bilinear.h"
#include "model/ops/conv.h"
#include "model/ops/gemm.h"

namespace spatialmamba {
namespace {

Epilogue Relu(const LinearLayer& layer) {
  return {.bias = layer.bias_data(), .activation = Activation::kRelu};
}

}  // namespace

UperHead::UperHead(const BoundTensors& tensors, const std::string& key, const ModelSpec& spec)
    : pooling_(tensors, key, spec.variant.dims()[3], spec.segment.pool_scales),
      bottleneck_(tensors, key + ".fpn_bottleneck", std::vector<int64_t>(4, spec.segment.channels)),
      classifier_(MakeLinear(tensors, key + ".conv_seg.weight", key + ".conv_seg.bias",
                             spec.classes, spec.segment.channels, MatrixType::kFloat32)) {
  for (size_t i = 0; i < 3; ++i) {
    const std::string level = std::to_string(i);
    lateral_[i] = MakeConvUnit(tensors, key + ".lateral_convs." + level, spec.variant.dims()[i], 1);
    output_[i] = MakeConvUnit(tensors, key + ".fpn_convs." + level, spec.segment.channels, 9);
  }
}

int64_t UperHead::WorkspaceFloats(const Pyramid& pyramid) const {
  int64_t laterals = 0;
  int64_t outputs = 0;
  int64_t enlarged = 0;
  for (size_t i = 0; i < 4; ++i) {
    const int64_t floats = Arena::Floats(pyramid[i].tokens(), channels());
    laterals += floats;
    if (i < 3) outputs += floats;
    if (i > 0) enlarged += pyramid[i].tokens();
  }
  const auto images = static_cast<int64_t>(pyramid[0].spans.size());
  return laterals + std::max(pooling_.WorkspaceFloats(images),
                             outputs + bottleneck_.WorkspaceFloats(enlarged));
}

void UperHead::FillLaterals(Context& context, Arena& arena, std::span<const ConstView> features,
                            const Pyramid& pyramid, std::span<const View, 4> laterals) const {
  pooling_.Forward(context, arena, {features[3], pyramid[3].spans}, laterals[3]);
  for (size_t i = 3; i > 0; --i) {
    const size_t below = i - 1;
    Gemm(context, features[below], lateral_[below].weights, Relu(lateral_[below]), laterals[below]);
    AddBilinear(context, laterals[i], pyramid[i].spans, laterals[below], pyramid[below].spans);
  }
}

void UperHead::Forward(Context& context, Arena& arena, std::span<const ConstView> features,
                       const Pyramid& pyramid, View logits) const {
  const int64_t before = arena.used();
  std::array<View, 4> laterals;
  for (size_t i = 0; i < 4; ++i) laterals[i] = arena.Take(pyramid[i].tokens(), channels());
  FillLaterals(context, arena, features, pyramid, laterals);
  std::vector<SizedMap> levels;
  for (size_t i = 0; i < 3; ++i) {
    const std::vector<Span>& spans = pyramid[i].spans;
    const View output = arena.Take(pyramid[i].tokens(), channels());
    Conv3x3(context, laterals[i], spans, 1, output_[i].weights, Relu(output_[i]), output, spans);
    levels.push_back({output, spans});
  }
  levels.push_back({laterals[3], pyramid[3].spans});
  // Nothing reads the first lateral map any more.
  bottleneck_.Forward(context, arena, levels, laterals[0]);
  Gemm(context, laterals[0], classifier_.weights, {.bias = classifier_.bias_data()}, logits);
  arena.Rewind(before);
}

}  // namespace spatialmamba
