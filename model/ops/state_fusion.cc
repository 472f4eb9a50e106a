#include "model/ops/state_fusion.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "model/ops/row_items.h"
#include "model/ops/state_fusion_params.h"

namespace spatialmamba {
namespace {

// A cache line of channels, and so many rows that the ten around them, which are read twice, hardly
// count.
constexpr int64_t kChannels = 16;
constexpr int64_t kRows = 64;
static_assert(kFusionScratchFloats <= Context::kScratchFloats);

struct Part {
  size_t image;
  FusionPart part;
};

std::vector<Part> PartsOf(std::span<const Span> spans, int64_t channels) {
  std::vector<Part> parts;
  for (size_t image = 0; image < spans.size(); ++image) {
    const int64_t height = spans[image].height;
    for (int64_t row = 0; row < height; row += kRows) {
      for (int64_t channel = 0; channel < channels; channel += kChannels) {
        parts.push_back({image,
                         {.first_channel = channel,
                          .last_channel = std::min(channels, channel + kChannels),
                          .first_row = row,
                          .last_row = std::min(height, row + kRows)}});
      }
    }
  }
  return parts;
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
  const std::vector<Part> parts = PartsOf(spans, channels);
  context.ParallelFor(static_cast<int64_t>(parts.size()), [&](int64_t item, int worker) {
    const Part& part = parts[static_cast<size_t>(item)];
    ObserveCpu(params(part.image), part.part, context.Scratch(worker));
  });
  ForRows(context, spans, [&](size_t image, int64_t first_row, int64_t last_row, int) {
    NormaliseAndGateCpu(params(image), first_row, last_row);
  });
}

}  // namespace spatialmamba
