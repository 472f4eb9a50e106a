#include "model/ops/layer_norm.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/layer_norm_params.h"

namespace spatialmamba {

void LayerNorm(Context& context, ConstView x, const NormWeights& norm, View out) {
  if (x.rows != out.rows || x.channels != out.channels)
    throw std::invalid_argument("LayerNorm: shapes differ");
  const OpScope scope(context, {.op = "layer_norm",
                                .rows = x.rows,
                                .inputs = x.channels,
                                .outputs = x.channels,
                                .multiply_adds = x.rows * x.channels * kNormMultiplyAdds,
                                .map_bytes = 4 * 2 * x.rows * x.channels});
  constexpr int64_t kRows = 64;
  const LayerNormParams params{.x = x.data,
                               .x_stride = x.stride,
                               .channels = x.channels,
                               .norm = norm,
                               .out = out.data,
                               .out_stride = out.stride};
  context.ParallelFor((x.rows + kRows - 1) / kRows, [&](int64_t item, int) {
    LayerNormCpu(params, item * kRows, std::min(x.rows, (item + 1) * kRows));
  });
}

void MeanOfTokens(Context& context, ConstView x, std::span<const Span> spans, View out) {
  if (out.rows != static_cast<int64_t>(spans.size()) || out.channels != x.channels) {
    throw std::invalid_argument("MeanOfTokens: shapes differ");
  }
  const OpScope scope(context, {.op = "mean",
                                .rows = TotalTokens(spans),
                                .inputs = x.channels,
                                .outputs = x.channels,
                                .multiply_adds = TotalTokens(spans) * x.channels,
                                .map_bytes = 4 * TotalTokens(spans) * x.channels});
  constexpr int64_t kChannels = 64;
  const int64_t blocks = (x.channels + kChannels - 1) / kChannels;
  context.ParallelFor(out.rows * blocks, [&](int64_t item, int) {
    const Span& span = spans[static_cast<size_t>(item / blocks)];
    const int64_t first = item % blocks * kChannels;
    const int64_t count = std::min(kChannels, x.channels - first);
    double sums[kChannels] = {};
    for (int64_t t = 0; t < span.tokens(); ++t) {
      const float* row = x.row(span.offset + t) + first;
      for (int64_t c = 0; c < count; ++c) sums[c] += static_cast<double>(row[c]);
    }
    float* to = out.row(item / blocks) + first;
    for (int64_t c = 0; c < count; ++c)
      to[c] = static_cast<float>(sums[c] / static_cast<double>(span.tokens()));
  });
}

}  // namespace spatialmamba
