#include "model/ops/state_fusion.h"

#include <stdexcept>

#include "model/ops/row_items.h"
#include "model/ops/state_fusion_params.h"

namespace spatialmamba {

void StateFusion(Context& context, const StateFusionInputs& inputs, std::span<const Span> spans,
                 const StateFusionWeights& weights, View out) {
  const int64_t tokens = TotalTokens(spans);
  const int64_t channels = out.channels;
  const auto fits = [&](ConstView view) {
    return view.rows >= tokens && view.channels == channels;
  };
  if (!fits(inputs.h) || !fits(inputs.x) || !fits(inputs.z) || !fits(out) ||
      inputs.c.rows < tokens) {
    throw std::invalid_argument("StateFusion: shapes do not fit");
  }
  const OpScope scope(context, {.op = "state_fusion",
                                .rows = tokens,
                                .inputs = channels,
                                .outputs = channels,
                                .multiply_adds = tokens * channels * (25 + 3 + kNormMultiplyAdds),
                                .evaluations = tokens * channels,
                                .weight_bytes = 4 * channels * (25 + 3),
                                .map_bytes = 4 * tokens * channels * 4});
  ForRows(context, spans, [&](size_t image, int64_t first_row, int64_t last_row, int) {
    const Span& span = spans[image];
    const StateFusionParams params{.height = span.height,
                                   .width = span.width,
                                   .channels = channels,
                                   .h = inputs.h.row(span.offset),
                                   .h_stride = inputs.h.stride,
                                   .taps = weights.taps,
                                   .c = inputs.c.row(span.offset),
                                   .c_stride = inputs.c.stride,
                                   .x = inputs.x.row(span.offset),
                                   .x_stride = inputs.x.stride,
                                   .skip = weights.skip,
                                   .z = inputs.z.row(span.offset),
                                   .z_stride = inputs.z.stride,
                                   .norm = weights.norm,
                                   .out = out.row(span.offset),
                                   .out_stride = out.stride};
    StateFusionCpu(params, first_row, last_row);
  });
}

}  // namespace spatialmamba
