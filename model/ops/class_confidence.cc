#include "model/ops/class_confidence.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/class_confidence_params.h"

namespace spatialmamba {

void ClassConfidence(Context& context, ConstView logits, std::span<uint8_t> confidence) {
  if (logits.channels < 1 || static_cast<int64_t>(confidence.size()) != logits.rows) {
    throw std::invalid_argument("ClassConfidence: shapes do not fit");
  }
  const OpScope scope(context, {.op = "class_confidence",
                                .rows = logits.rows,
                                .inputs = logits.channels,
                                .outputs = 1,
                                .evaluations = logits.rows * logits.channels,
                                .map_bytes = 4 * logits.rows * logits.channels});
  constexpr int64_t kTokens = 256;
  context.ParallelFor((logits.rows + kTokens - 1) / kTokens, [&](int64_t item, int) {
    ClassConfidenceCpu({.logits = logits.data,
                        .stride = logits.stride,
                        .classes = logits.channels,
                        .confidence = confidence.data()},
                       item * kTokens, std::min(logits.rows, (item + 1) * kTokens));
  });
}

}  // namespace spatialmamba
