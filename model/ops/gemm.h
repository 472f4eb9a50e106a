#pragma once

#include "model/ops/context.h"
#include "model/ops/epilogue.h"
#include "model/ops/packed_matrix.h"
#include "model/ops/view.h"

namespace spatialmamba {

// A linear layer on the rows of a map: out[i, n] = activation(sum_k x[i, k] W[n, k] + bias[n]) +
// residual[i, n].
//
// x is [rows, weights.inputs()], out [rows, weights.outputs()]; out may be the residual, but not
// overlap x. With bf16 weights x is rounded to bf16 first (to nearest even). The sum runs over k
// upwards in one fp32 accumulator for each element (fused multiply-add where the instruction set
// has it; with AVX-512 BF16 two products at a time), so a row's result has the same bits whatever
// the number of rows, its position among them, and the threads. Exact batching rests on this.
// Throws std::invalid_argument if shapes do not fit.
void Gemm(Context& context, ConstView x, const PackedMatrix& weights, const Epilogue& epilogue,
          View out);

}  // namespace spatialmamba
