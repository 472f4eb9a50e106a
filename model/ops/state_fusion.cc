#include "model/ops/state_fusion.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/row_items.h"
#include "model/ops/state_fusion_params.h"

namespace spatialmamba {
namespace {

// A cache line of channels, and so many rows that the ten around them, which are read twice, hardly
// count.
constexpr int64_t kChannels = 16;
constexpr int64_t kRows = 64;
static_assert(kFusionScratchFloats <= Context::kScratchFloats);

// The parts of an image: bands of rows, each of all groups of channels.
int64_t Parts(const Span& span, int64_t channels) {
  return (span.height + kRows - 1) / kRows * ((channels + kChannels - 1) / kChannels);
}

FusionPart PartOf(const Span& span, int64_t channels, int64_t item) {
  const int64_t groups = (channels + kChannels - 1) / kChannels;
  const int64_t row = item / groups * kRows;
  const int64_t channel = item % groups * kChannels;
  return {.first_channel = channel,
          .last_channel = std::min(channels, channel + kChannels),
          .first_row = row,
          .last_row = std::min(span.height, row + kRows)};
}

}  // namespace

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
  const auto params = [&](size_t image) {
    const Span& span = spans[image];
    return StateFusionParams{.height = span.height,
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
  };
  int64_t parts = 0;
  for (const Span& span : spans) parts += Parts(span, channels);
  context.ParallelFor(parts, [&](int64_t item, int worker) {
    size_t image = 0;
    for (; item >= Parts(spans[image], channels); ++image) item -= Parts(spans[image], channels);
    ObserveCpu(params(image), PartOf(spans[image], channels, item), context.Scratch(worker));
  });
  ForRows(context, spans, [&](size_t image, int64_t first_row, int64_t last_row, int) {
    NormaliseAndGateCpu(params(image), first_row, last_row);
  });
}

}  // namespace spatialmamba
