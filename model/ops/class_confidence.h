#pragma once

#include <cstdint>
#include <span>

#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// The softmax probability of each token's best class as a byte: round(255 p), 255 = certain.
// logits: [tokens, classes], finite; confidence: [tokens]. Throws std::invalid_argument if shapes
// do not fit.
void ClassConfidence(Context& context, ConstView logits, std::span<uint8_t> confidence);

}  // namespace spatialmamba
