#pragma once

#include <cstdint>
#include <span>

#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// Averages of each image over bins x bins rectangles: bin i of an axis of n pixels is from
// floor(i n / bins) up to ceil((i + 1) n / bins), also where the image has fewer pixels than bins.
//
// x: [tokens of spans, channels]; out: [images * bins * bins, channels], images back to back. The
// order of each sum is fixed. Throws std::invalid_argument if shapes do not fit.
void AdaptiveAveragePool(Context& context, ConstView x, std::span<const Span> spans, int64_t bins,
                         View out);

}  // namespace spatialmamba
