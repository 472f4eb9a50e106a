#pragma once

#include <span>

#include "model/ops/context.h"
#include "model/ops/norm.h"
#include "model/ops/view.h"

namespace spatialmamba {

// LayerNorm over the channels of every token; out may be x. Throws std::invalid_argument if shapes
// differ.
void LayerNorm(Context& context, ConstView x, const NormWeights& norm, View out);

// The mean over all tokens of each image: x [tokens, channels] -> out [images, channels], summed in
// double precision.
void MeanOfTokens(Context& context, ConstView x, std::span<const Span> spans, View out);

}  // namespace spatialmamba
