#pragma once

#include <cstdint>
#include <span>

#include "model/ops/context.h"
#include "model/ops/epilogue.h"
#include "model/ops/packed_matrix.h"
#include "model/ops/view.h"

namespace spatialmamba {

// A dense 3x3 convolution of ragged maps with zero padding of one and a stride (`step`) of 1 or 2:
// out = epilogue(conv(x)). `weights` are packed from [outputs, 3 * 3 * inputs], the inner index in
// the order row, column, channel. x is [tokens, inputs]; out [tokens of out_spans, outputs],
// out_spans = spans or Halved(spans). Patches are gathered in scratch memory and multiplied by the
// row-invariant GEMM. Throws std::invalid_argument if shapes do not fit.
void Conv3x3(Context& context, ConstView x, std::span<const Span> spans, int64_t step,
             const PackedMatrix& weights, const Epilogue& epilogue, View out,
             std::span<const Span> out_spans);

}  // namespace spatialmamba
