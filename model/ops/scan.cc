#include "model/ops/scan.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/scan_params.h"

namespace spatialmamba {

void Scan(Context& context, ConstView x, ConstView rbc, std::span<const Span> spans,
          const ScanWeights& weights, View h) {
  const int64_t tokens = TotalTokens(spans);
  if (x.rows < tokens || rbc.rows < tokens || h.rows < tokens || x.channels != h.channels ||
      rbc.channels != weights.rank + 2) {
    throw std::invalid_argument("Scan: shapes do not fit");
  }
  // A value: its step from the rank, softplus of it (exp and log), exp of the decay, and the
  // recurrence.
  const OpScope scope(context,
                      {.op = "scan",
                       .rows = tokens,
                       .inputs = x.channels,
                       .outputs = h.channels,
                       .multiply_adds = tokens * h.channels * (weights.rank + 3),
                       .evaluations = tokens * h.channels * 3,
                       .weight_bytes = 4 * x.channels * (weights.rank + 2),
                       .map_bytes = 4 * tokens * (x.channels + rbc.channels + h.channels)});
  // Channels are independent; a block of 64 keeps four vectors of AVX-512 in flight.
  constexpr int64_t kChannels = 64;
  const int64_t blocks = (x.channels + kChannels - 1) / kChannels;
  context.ParallelFor(static_cast<int64_t>(spans.size()) * blocks, [&](int64_t item, int) {
    const Span& span = spans[static_cast<size_t>(item / blocks)];
    const ScanParams params{.tokens = span.tokens(),
                            .rank = weights.rank,
                            .channels = x.channels,
                            .x = x.row(span.offset),
                            .x_stride = x.stride,
                            .rbc = rbc.row(span.offset),
                            .rbc_stride = rbc.stride,
                            .step_weight = weights.step_weight,
                            .step_bias = weights.step_bias,
                            .decay = weights.decay,
                            .h = h.row(span.offset),
                            .h_stride = h.stride};
    const int64_t first = item % blocks * kChannels;
    ScanCpu(params, first, std::min(x.channels, first + kChannels));
  });
}

}  // namespace spatialmamba
