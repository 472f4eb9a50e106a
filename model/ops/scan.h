#pragma once

#include <span>

#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// Weights of the selective scan; not owned.
struct ScanWeights {
  int64_t rank = 0;
  const float* step_weight = nullptr;  // [rank, channels]: dt_projs_weight transposed
  const float* step_bias = nullptr;    // [channels]
  const float* decay = nullptr;        // [channels]: -exp(A_log)
};

// The selective scan of Spatial-Mamba (arXiv 2410.15091, state size 1), over each image in
// row-major pixel order:
//   dt[t] = softplus(step_weight^T r[t] + step_bias)
//   h[t]  = exp(decay * dt[t]) * h[t-1] + dt[t] * B[t] * x[t],  h[-1] = 0
// x and h are [tokens, channels]; rbc is [tokens, rank + 2], of which r is the first rank, then B,
// then C (unused here). The step, its softplus and the recurrence are fp32 and never leave the
// registers. h must not overlap x. Throws std::invalid_argument if shapes do not fit.
void Scan(Context& context, ConstView x, ConstView rbc, std::span<const Span> spans,
          const ScanWeights& weights, View h);

}  // namespace spatialmamba
