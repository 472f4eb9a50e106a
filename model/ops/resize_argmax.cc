#include "model/ops/resize_argmax.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "model/ops/resize_argmax_params.h"

namespace spatialmamba {
namespace {

constexpr int64_t kMaxClasses = int64_t{std::numeric_limits<uint16_t>::max()} + 1;

void Check(ConstView logits, const ResizeSteps& steps, std::span<const uint16_t> labels,
           std::span<const int64_t> class_pixels) {
  if (logits.rows != steps.from.height * steps.from.width ||
      static_cast<int64_t>(labels.size()) != steps.to.height * steps.to.width ||
      static_cast<int64_t>(class_pixels.size()) != logits.channels || logits.channels < 1 ||
      logits.channels > kMaxClasses ||
      steps.from.width * logits.stride > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("ResizeArgmax: shapes do not fit");
  }
}

}  // namespace

void ResizeArgmax(Context& context, ConstView logits, const ResizeSteps& steps,
                  std::span<uint16_t> labels, std::span<int64_t> class_pixels) {
  Check(logits, steps, labels, class_pixels);
  const auto rows = TwoStepAxis(steps.from.height, steps.between.height, steps.to.height);
  const auto columns = TwoStepAxis(steps.from.width, steps.between.width, steps.to.width);
  const int64_t pixels = steps.to.height * steps.to.width;
  const OpScope scope(context, {.op = "resize_argmax",
                                .rows = pixels,
                                .inputs = logits.channels,
                                .outputs = 1,
                                .multiply_adds = pixels * logits.channels,
                                .map_bytes = 4 * logits.rows * logits.channels + 2 * pixels});
  const ResizeArgmaxParams params{.logits = logits.data,
                                  .stride = logits.stride,
                                  .height = steps.from.height,
                                  .width = steps.from.width,
                                  .classes = logits.channels,
                                  .rows = rows.data(),
                                  .columns = columns.data(),
                                  .row_taps = TapsUsed(rows),
                                  .column_taps = TapsUsed(columns),
                                  .out_height = steps.to.height,
                                  .out_width = steps.to.width,
                                  .labels = labels.data()};
  const auto classes = static_cast<size_t>(logits.channels);
  const auto workers = static_cast<size_t>(context.workers());
  std::vector<int32_t> candidates(workers * classes);
  std::vector<int64_t> counts(workers * classes);
  constexpr int64_t kBlock = ResizeArgmaxParams::kBlock;
  context.ParallelFor((steps.to.height + kBlock - 1) / kBlock, [&](int64_t item, int worker) {
    const size_t own = static_cast<size_t>(worker) * classes;
    const ResizeArgmaxScratch scratch{context.Scratch(worker), &candidates[own], &counts[own]};
    for (int64_t column = 0; column < steps.to.width; column += kBlock) {
      ResizeArgmaxBlockCpu(params, item * kBlock, column, scratch);
    }
  });
  std::fill(class_pixels.begin(), class_pixels.end(), 0);
  for (size_t i = 0; i < counts.size(); ++i) class_pixels[i % classes] += counts[i];
}

}  // namespace spatialmamba
