#include "model/ops/conv.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "model/ops/conv_params.h"
#include "model/ops/gemm_params.h"

namespace spatialmamba {

void Conv3x3(Context& context, ConstView x, std::span<const Span> spans, int64_t step,
             const PackedMatrix& weights, const Epilogue& epilogue, View out,
             std::span<const Span> out_spans) {
  const int64_t patch = 9 * x.channels;
  if (weights.inputs() != patch || weights.outputs() != out.channels ||
      spans.size() != out_spans.size() || x.rows < TotalTokens(spans) ||
      out.rows < TotalTokens(out_spans) || patch > Context::kScratchFloats) {
    throw std::invalid_argument("Conv3x3: shapes do not fit");
  }
  const int64_t outputs = TotalTokens(out_spans) * out.channels;
  const OpScope scope(context,
                      {.op = "conv3x3",
                       .rows = TotalTokens(out_spans),
                       .inputs = patch,
                       .outputs = out.channels,
                       .products = outputs * patch,
                       .type = weights.type(),
                       .evaluations = outputs * Evaluations(epilogue.activation),
                       .weight_bytes = weights.bytes(),
                       .map_bytes = 4 * (TotalTokens(spans) * x.channels +
                                         outputs * (epilogue.residual != nullptr ? 2 : 1))});
  const int64_t block = std::clamp<int64_t>(Context::kScratchFloats / 4 / patch, 1, 112);
  int64_t items = 0;
  for (const Span& span : out_spans) items += (span.tokens() + block - 1) / block;
  context.ParallelFor(items, [&](int64_t item, int worker) {
    size_t image = 0;
    for (;; ++image) {
      const int64_t pieces = (out_spans[image].tokens() + block - 1) / block;
      if (item < pieces) break;
      item -= pieces;
    }
    const int64_t first = item * block;
    const int64_t last = std::min(out_spans[image].tokens(), first + block);
    const PatchParams patches{.x = x.row(spans[image].offset),
                              .x_stride = x.stride,
                              .height = spans[image].height,
                              .width = spans[image].width,
                              .channels = x.channels,
                              .step = step};
    float* scratch = context.Scratch(worker);
    GatherPatchesCpu(patches, first, last, scratch);
    const int64_t row = out_spans[image].offset + first;
    GemmParams gemm{.x = scratch,
                    .x_stride = patch,
                    .rows = last - first,
                    .weights = &weights,
                    .out = out.row(row),
                    .out_stride = out.stride,
                    .epilogue = epilogue,
                    .staging = context.Staging(worker)};
    if (epilogue.residual != nullptr) gemm.epilogue.residual += row * epilogue.residual_stride;
    GemmCpu(gemm);
  });
}

}  // namespace spatialmamba
