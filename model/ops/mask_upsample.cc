#include "model/ops/mask_upsample.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/gemm_params.h"
#include "model/ops/mask_upsample_params.h"

namespace spatialmamba {

void MaskUpsample(Context& context, ConstView x, int64_t side, std::span<const int64_t> labels,
                  const MaskUpsampleWeights& weights, View out) {
  const PackedMatrix& upsample = *weights.upsample;
  const auto maps = static_cast<int64_t>(labels.size());
  const int64_t pixels = side * side;
  if (x.rows != maps * pixels || x.channels != upsample.inputs() ||
      upsample.outputs() != 4 * x.channels || out.rows != maps || out.channels != 4 * pixels ||
      upsample.outputs() > Context::kScratchFloats) {
    throw std::invalid_argument("MaskUpsample: shapes do not fit");
  }
  // Half a map of the published size at a time: enough pieces for all workers.
  constexpr int64_t kRows = 98;
  const int64_t rows = std::min({kRows, pixels, Context::kScratchFloats / upsample.outputs()});
  const int64_t pieces = (pixels + rows - 1) / rows;
  const OpScope scope(context, {.op = "mask_upsample",
                                .rows = x.rows,
                                .inputs = x.channels,
                                .outputs = 4,
                                .products = x.rows * x.channels * upsample.outputs(),
                                .type = upsample.type(),
                                .multiply_adds = x.rows * upsample.outputs(),
                                .weight_bytes = upsample.bytes(),
                                .map_bytes = 4 * x.rows * (x.channels + 4)});
  context.ParallelFor(maps * pieces, [&](int64_t item, int worker) {
    const int64_t map = item / pieces;
    const int64_t first = item % pieces * rows;
    const int64_t count = std::min(rows, pixels - first);
    float* doubled = context.Scratch(worker);
    GemmCpu({.x = x.row(map * pixels + first),
             .x_stride = x.stride,
             .rows = count,
             .weights = &upsample,
             .out = doubled,
             .out_stride = upsample.outputs(),
             .epilogue = {.bias = weights.upsample_bias, .activation = Activation::kRelu},
             .staging = context.Staging(worker)});
    const int64_t label = labels[static_cast<size_t>(map)];
    MaskLogitsCpu({.doubled = doubled,
                   .channels = x.channels,
                   .weights = weights.class_weights + label * x.channels,
                   .bias = weights.class_bias[label],
                   .side = side,
                   .out = out.row(map)},
                  first, count);
  });
}

}  // namespace spatialmamba
