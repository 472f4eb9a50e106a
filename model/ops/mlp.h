#pragma once

#include "model/ops/context.h"
#include "model/ops/packed_matrix.h"
#include "model/ops/view.h"

namespace spatialmamba {

// Two linear layers with their biases; not owned.
struct MlpWeights {
  const PackedMatrix* expand = nullptr;  // [hidden, channels]
  const float* expand_bias = nullptr;
  const PackedMatrix* contract = nullptr;  // [channels, hidden]
  const float* contract_bias = nullptr;
};

// out = residual + contract(GELU(expand(x) + expand_bias)) + contract_bias, row by row; out may be
// the residual. The hidden layer of a block of rows stays in a worker's scratch memory; where there
// are too few rows for all workers it goes through `hidden` [rows, hidden] instead. Both ways give
// the same bits. Throws std::invalid_argument if shapes do not fit.
void Mlp(Context& context, ConstView x, const MlpWeights& weights, ConstView residual, View hidden,
         View out);

}  // namespace spatialmamba
