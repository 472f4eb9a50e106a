#include "model/ops/adaptive_pool.h"

#include <stdexcept>

#include "model/ops/adaptive_pool_params.h"

namespace spatialmamba {

void AdaptiveAveragePool(Context& context, ConstView x, std::span<const Span> spans, int64_t bins,
                         View out) {
  const auto images = static_cast<int64_t>(spans.size());
  if (bins < 1 || x.channels != out.channels || x.rows < TotalTokens(spans) ||
      out.rows != images * bins * bins || x.channels > Context::kScratchFloats) {
    throw std::invalid_argument("AdaptiveAveragePool: shapes do not fit");
  }
  for (const Span& span : spans) {
    if (span.tokens() < 1) throw std::invalid_argument("AdaptiveAveragePool: an image is empty");
  }
  const int64_t values = TotalTokens(spans) * x.channels;
  const OpScope scope(context, {.op = "adaptive_pool",
                                .rows = TotalTokens(spans),
                                .inputs = x.channels,
                                .outputs = x.channels,
                                .multiply_adds = values,
                                .map_bytes = 4 * values});
  context.ParallelFor(out.rows, [&](int64_t item, int worker) {
    const Span& span = spans[static_cast<size_t>(item / (bins * bins))];
    const int64_t row = item / bins % bins;
    const int64_t column = item % bins;
    AveragePoolBinCpu({.x = x.row(span.offset),
                       .x_stride = x.stride,
                       .width = span.width,
                       .channels = x.channels,
                       .first_row = row * span.height / bins,
                       .last_row = ((row + 1) * span.height + bins - 1) / bins,
                       .first_column = column * span.width / bins,
                       .last_column = ((column + 1) * span.width + bins - 1) / bins,
                       .out = out.row(item)},
                      context.Scratch(worker));
  });
}

}  // namespace spatialmamba
