#include "model/net/upernet.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>

#include "model/ops/class_confidence.h"
#include "model/ops/layer_norm.h"
#include "model/ops/resize_argmax.h"

namespace spatialmamba {
namespace {

void CheckQueries(std::span<const Span> spans, std::span<const SegmentQuery> queries) {
  if (queries.size() != spans.size()) {
    throw std::invalid_argument("UperNet: there must be one query for each image");
  }
  for (const SegmentQuery& query : queries) {
    if (query.original.height < 1 || query.original.width < 1) {
      throw std::invalid_argument("UperNet: a picture has no pixels");
    }
  }
}

// Labels of numbers that are not finite would be no answer.
void CheckFinite(Context& context, ConstView logits) {
  constexpr int64_t kTokens = 1024;
  std::atomic<bool> finite = true;
  context.ParallelFor((logits.rows + kTokens - 1) / kTokens, [&](int64_t item, int) {
    float sum = 0;
    for (int64_t t = item * kTokens; t < std::min(logits.rows, (item + 1) * kTokens); ++t) {
      // Zero, or NaN once there was a NaN or an infinity.
      for (int64_t c = 0; c < logits.channels; ++c) sum += logits.row(t)[c] * 0.0F;
    }
    if (std::isnan(sum)) finite = false;
  });
  if (!finite) {
    throw std::domain_error("the network's numbers for this batch are not finite");
  }
}

SegmentOutput LabelImage(Context& context, ConstView logits, const ResizeSteps& steps,
                         const SegmentQuery& query) {
  SegmentOutput output;
  output.labels.resize(static_cast<size_t>(steps.to.height * steps.to.width));
  output.class_pixels.resize(static_cast<size_t>(logits.channels));
  ResizeArgmax(context, logits, steps, output.labels, output.class_pixels);
  if (query.confidence) {
    output.confidence_height = steps.from.height;
    output.confidence_width = steps.from.width;
    output.confidence.resize(static_cast<size_t>(logits.rows));
    ClassConfidence(context, logits, output.confidence);
  }
  if (query.logits) {
    output.logits_size = steps.from;
    output.input = steps.between;
    output.logits.reserve(static_cast<size_t>(logits.rows * logits.channels));
    for (int64_t row = 0; row < logits.rows; ++row) {
      output.logits.insert(output.logits.end(), logits.row(row), logits.row(row) + logits.channels);
    }
  }
  return output;
}

}  // namespace

UperNet::UperNet(const ModelSpec& spec, const BoundTensors& tensors)
    : backbone_(spec.variant, tensors, "backbone."), head_(tensors, "decode_head", spec) {
  for (size_t i = 0; i < norms_.size(); ++i) {
    norms_[i] = MakeNorm(tensors, "backbone.outnorm" + std::to_string(i));
  }
}

// The norms of the backbone's maps stay while its own memory becomes that of the head.
int64_t UperNet::WorkspaceFloats(std::span<const Span> spans) const {
  const Pyramid pyramid = PyramidOf(spans);
  int64_t normed = 0;
  for (size_t i = 0; i < 4; ++i) {
    normed += Arena::Floats(pyramid[i].tokens(), backbone_.variant().dims()[i]);
  }
  return normed + std::max(backbone_.WorkspaceFloats(spans),
                           Arena::Floats(pyramid[0].tokens(), head_.classes()) +
                               head_.WorkspaceFloats(pyramid));
}

SegmentLogits UperNet::FillLogits(Context& context, Arena& arena, ConstView images,
                                  std::span<const Span> spans) const {
  arena.Reset(WorkspaceFloats(spans));
  const Pyramid pyramid = PyramidOf(spans);
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
  const View logits = arena.Take(pyramid[0].tokens(), head_.classes());
  head_.Forward(context, arena, features, pyramid, logits);
  return {logits, pyramid[0].spans};
}

std::vector<SegmentOutput> UperNet::Label(Context& context, const SegmentLogits& head,
                                          std::span<const Span> spans,
                                          std::span<const SegmentQuery> queries) {
  CheckQueries(spans, queries);
  CheckFinite(context, head.logits);
  std::vector<SegmentOutput> outputs;
  for (size_t i = 0; i < queries.size(); ++i) {
    const Span& own = head.spans[i];
    const ConstView logits{head.logits.row(own.offset), own.tokens(), head.logits.channels,
                           head.logits.stride};
    const ResizeSteps steps{.from = {own.height, own.width},
                            .between = {spans[i].height, spans[i].width},
                            .to = queries[i].original};
    outputs.push_back(LabelImage(context, logits, steps, queries[i]));
  }
  return outputs;
}

std::vector<SegmentOutput> UperNet::Forward(Context& context, Arena& arena, ConstView images,
                                            std::span<const Span> spans,
                                            std::span<const SegmentQuery> queries) const {
  CheckQueries(spans, queries);
  return Label(context, FillLogits(context, arena, images, spans), spans, queries);
}

}  // namespace spatialmamba
