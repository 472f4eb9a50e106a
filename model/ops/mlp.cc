#include "model/ops/mlp.h"

#include <algorithm>

#include "model/ops/gemm.h"
#include "model/ops/gemm_params.h"

namespace spatialmamba {
namespace {

// The hidden rows of a block take half of the L2 cache at most, so that the weights have room to
// stream.
constexpr int64_t kHiddenFloats = Context::kScratchFloats / 2;
constexpr int64_t kRowStep = 14;

}  // namespace

void Mlp(Context& context, ConstView x, const MlpWeights& weights, ConstView residual, View hidden,
         View out) {
  const Epilogue expand{.bias = weights.expand_bias, .activation = Activation::kGelu};
  const Epilogue contract{
      .bias = weights.contract_bias, .residual = residual.data, .residual_stride = residual.stride};
  const int64_t width = weights.expand->outputs();
  const OpScope scope(context, {.op = "mlp",
                                .rows = x.rows,
                                .inputs = x.channels,
                                .outputs = out.channels,
                                .products = x.rows * width * (x.channels + out.channels),
                                .type = weights.expand->type(),
                                .evaluations = x.rows * width,
                                .weight_bytes = weights.expand->bytes() + weights.contract->bytes(),
                                .map_bytes = 4 * x.rows * (x.channels + 2 * out.channels)});
  const int64_t block =
      std::clamp(kHiddenFloats / width / kRowStep * kRowStep, kRowStep, 16 * kRowStep);
  const int64_t blocks = (x.rows + block - 1) / block;
  if (block * width > Context::kScratchFloats ||
      (context.workers() > 1 && blocks < int64_t{4} * context.workers())) {
    Gemm(context, x, *weights.expand, expand, hidden);
    Gemm(context, hidden, *weights.contract, contract, out);
    return;
  }
  // The hidden layer is rounded once, when it is written.
  const bool packed = weights.expand->type() == MatrixType::kBfloat16 &&
                      weights.contract->type() == MatrixType::kBfloat16 && width % 2 == 0;
  context.ParallelFor(blocks, [&](int64_t item, int worker) {
    const int64_t first = item * block;
    const int64_t rows = std::min(block, x.rows - first);
    float* scratch = context.Scratch(worker);
    float* staging = context.Staging(worker);
    GemmParams expansion{.x = x.row(first),
                         .x_stride = x.stride,
                         .rows = rows,
                         .weights = weights.expand,
                         .out = scratch,
                         .out_stride = width,
                         .epilogue = expand,
                         .staging = staging};
    GemmParams contraction{.x = scratch,
                           .x_stride = width,
                           .rows = rows,
                           .weights = weights.contract,
                           .out = out.row(first),
                           .out_stride = out.stride,
                           .epilogue = contract,
                           .staging = staging};
    if (packed) {
      expansion.out = nullptr;
      expansion.packed_out = contraction.staging = scratch;
      contraction.x = nullptr;
    }
    contraction.epilogue.residual = residual.row(first);
    GemmCpu(expansion);
    GemmCpu(contraction);
  });
}

}  // namespace spatialmamba
