#include "model/ops/gemm.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "model/ops/gemm_params.h"

namespace spatialmamba {
namespace {

// Rows of one piece of work: their inputs should stay in L2 while all panels pass over them, and
// there should be enough pieces for all workers. A multiple of 28 suits the tiles of every
// instruction set.
constexpr int64_t kRowStep = 28;
constexpr int64_t kBlockFloats = int64_t{1} << 16;

int64_t BlockRows(const PackedMatrix& weights) {
  const int64_t inputs = weights.inputs();
  int64_t rows = std::clamp(kBlockFloats / inputs / kRowStep * kRowStep, kRowStep, 8 * kRowStep);
  if (weights.type() == MatrixType::kBfloat16) {
    while (rows > 1 && !FitsStaging(rows, inputs)) rows /= 2;
  }
  return rows;
}

void Check(ConstView x, const PackedMatrix& weights, const Epilogue& epilogue, View out) {
  if (x.channels != weights.inputs() || out.channels != weights.outputs() || x.rows != out.rows) {
    throw std::invalid_argument(
        "Gemm: [" + std::to_string(x.rows) + ", " + std::to_string(x.channels) + "] times [" +
        std::to_string(weights.inputs()) + ", " + std::to_string(weights.outputs()) +
        "] does not give [" + std::to_string(out.rows) + ", " + std::to_string(out.channels) + "]");
  }
  if (epilogue.residual != nullptr && epilogue.activation != Activation::kNone) {
    throw std::invalid_argument("Gemm: an activation and a residual at once are not supported");
  }
  if (weights.type() == MatrixType::kBfloat16 && !FitsStaging(1, weights.inputs())) {
    throw std::invalid_argument("Gemm: a row of " + std::to_string(weights.inputs()) +
                                " inputs is too long for bf16");
  }
}

Work WorkOf(const PackedMatrix& weights, const Epilogue& epilogue, int64_t rows) {
  const int64_t outputs = rows * weights.outputs();
  return {.op = "gemm",
          .rows = rows,
          .inputs = weights.inputs(),
          .outputs = weights.outputs(),
          .products = outputs * weights.inputs(),
          .type = weights.type(),
          .evaluations = outputs * Evaluations(epilogue.activation),
          .weight_bytes = weights.bytes(),
          .map_bytes =
              4 * (rows * weights.inputs() + outputs * (epilogue.residual != nullptr ? 2 : 1))};
}

}  // namespace

void Gemm(Context& context, ConstView x, const PackedMatrix& weights, const Epilogue& epilogue,
          View out) {
  Check(x, weights, epilogue, out);
  const OpScope scope(context, WorkOf(weights, epilogue, x.rows));
  const int64_t block_rows = BlockRows(weights);
  const int64_t row_blocks = (x.rows + block_rows - 1) / block_rows;
  const int64_t panels = weights.panels();
  // Few rows: split the panels too, so that every worker has a share of the weights to stream.
  const int64_t wanted = int64_t{4} * context.workers();
  const int64_t panel_blocks =
      context.workers() == 1
          ? 1
          : std::clamp((wanted + row_blocks - 1) / std::max<int64_t>(row_blocks, 1), int64_t{1},
                       panels);
  context.ParallelFor(row_blocks * panel_blocks, [&](int64_t item, int worker) {
    const int64_t first = item / panel_blocks * block_rows;
    const int64_t part = item % panel_blocks;
    GemmParams params{.x = x.row(first),
                      .x_stride = x.stride,
                      .rows = std::min(block_rows, x.rows - first),
                      .weights = &weights,
                      .out = out.row(first),
                      .out_stride = out.stride,
                      .epilogue = epilogue,
                      .staging = context.Staging(worker)};
    if (epilogue.residual != nullptr) params.epilogue.residual += first * epilogue.residual_stride;
    GemmCpu(params, part * panels / panel_blocks, (part + 1) * panels / panel_blocks);
  });
}

}  // namespace spatialmamba
