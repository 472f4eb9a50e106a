#pragma once

#include <span>

#include "model/ops/context.h"
#include "model/ops/norm.h"
#include "model/ops/view.h"

namespace spatialmamba {

// Weights of structure-aware state fusion and the observation; not owned. The three 3x3 kernels at
// dilations 1, 3 and 5 with their alphas are merged into 25 taps, [25, channels], in the order of
// kFusionOffsets.
struct StateFusionWeights {
  const float* taps = nullptr;
  const float* skip = nullptr;  // [channels]: D
  NormWeights norm;
};

struct FusionOffset {
  int row;
  int column;
};

// The centre, then the eight neighbours at distance 1, 3 and 5, row by row.
inline constexpr FusionOffset kFusionOffsets[25] = {
    {0, 0},   {-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 1},  {1, -1}, {1, 0}, {1, 1},
    {-3, -3}, {-3, 0},  {-3, 3}, {0, -3}, {0, 3},  {3, -3}, {3, 0},  {3, 3}, {-5, -5},
    {-5, 0},  {-5, 5},  {0, -5}, {0, 5},  {5, -5}, {5, 0},  {5, 5}};

// Fusion, observation, norm and gate of Spatial-Mamba (arXiv 2410.15091) in one pass over each
// image:
//   h'  = sum_k taps[k] * h[pixel + offset k], neighbours outside the image replaced by its nearest
//   edge pixel out = LayerNorm(c * h' + skip * x) * SiLU(z)
// h, x, z, out are [tokens, channels], c [tokens, 1]. out may be x, but not h. Throws
// std::invalid_argument if shapes do not fit.
struct StateFusionInputs {
  ConstView h;
  ConstView c;
  ConstView x;
  ConstView z;
};
void StateFusion(Context& context, const StateFusionInputs& inputs, std::span<const Span> spans,
                 const StateFusionWeights& weights, View out);

}  // namespace spatialmamba
