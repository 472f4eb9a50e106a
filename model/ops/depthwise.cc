#include "model/ops/depthwise.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/depthwise_params.h"
#include "model/ops/row_items.h"

namespace spatialmamba {
namespace {

void Run(Context& context, DepthwiseParams params, ConstView x, std::span<const Span> spans,
         View out, std::span<const Span> out_spans, View normed) {
  if (x.rows < TotalTokens(spans) || out.rows < TotalTokens(out_spans) ||
      out.channels != x.channels || spans.size() != out_spans.size()) {
    throw std::invalid_argument("Depthwise: shapes do not fit");
  }
  const bool norms = normed.data != nullptr;
  const int64_t values = TotalTokens(out_spans) * out.channels;
  const OpScope scope(
      context, {.op = norms ? "depthwise+norm" : "depthwise",
                .rows = TotalTokens(out_spans),
                .inputs = x.channels,
                .outputs = out.channels,
                .multiply_adds = values * (9 + (norms ? kNormMultiplyAdds : 0)),
                .evaluations = values * Evaluations(params.activation),
                .weight_bytes = 4 * 10 * x.channels,
                .map_bytes = 4 * (TotalTokens(spans) * x.channels + values * (norms ? 2 : 1))});
  params.x_stride = x.stride;
  params.channels = x.channels;
  params.out_stride = out.stride;
  params.normed_stride = normed.stride;
  ForRows(context, out_spans, [&](size_t image, int64_t first_row, int64_t last_row, int) {
    DepthwiseParams one = params;
    one.x = x.row(spans[image].offset);
    one.height = spans[image].height;
    one.width = spans[image].width;
    one.out = out.row(out_spans[image].offset);
    if (normed.data != nullptr) one.normed = normed.row(out_spans[image].offset);
    DepthwiseCpu(one, first_row, last_row);
  });
}

}  // namespace

void DepthwiseResidualNorm(Context& context, ConstView x, std::span<const Span> spans,
                           const DepthwiseWeights& weights, const NormWeights& norm, View out,
                           View normed) {
  if (normed.rows != out.rows || normed.channels != out.channels) {
    throw std::invalid_argument("Depthwise: the normalised map has another shape than the map");
  }
  const DepthwiseParams params{
      .taps = weights.taps, .bias = weights.bias, .add_input = true, .norm = norm};
  Run(context, params, x, spans, out, spans, normed);
}

void Depthwise(Context& context, ConstView x, std::span<const Span> spans,
               const DepthwiseWeights& weights, Activation activation, View out) {
  const DepthwiseParams params{
      .taps = weights.taps, .bias = weights.bias, .activation = activation};
  Run(context, params, x, spans, out, spans, {});
}

void DepthwiseStride2(Context& context, ConstView x, std::span<const Span> spans,
                      const DepthwiseWeights& weights, Activation activation, View out,
                      std::span<const Span> out_spans) {
  const DepthwiseParams params{
      .step = 2, .taps = weights.taps, .bias = weights.bias, .activation = activation};
  Run(context, params, x, spans, out, out_spans, {});
}

}  // namespace spatialmamba
