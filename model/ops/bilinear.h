#pragma once

#include <span>

#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// sum += x, each image resized bilinearly from its size in `spans` to that in `sum_spans`
// (half-pixel centres, clamped edges, any ratio). x is [tokens of spans, channels], sum [tokens of
// sum_spans, channels]. A pixel's result does not depend on the threads or the other images. Throws
// std::invalid_argument if shapes do not fit.
void AddBilinear(Context& context, ConstView x, std::span<const Span> spans, View sum,
                 std::span<const Span> sum_spans);

}  // namespace spatialmamba
