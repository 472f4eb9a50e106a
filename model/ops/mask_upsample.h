#pragma once

#include <cstdint>
#include <span>

#include "model/ops/context.h"
#include "model/ops/packed_matrix.h"
#include "model/ops/view.h"

namespace spatialmamba {

// The end of a mask head; not owned.
struct MaskUpsampleWeights {
  // A transposed 2x2 convolution of stride 2 as one product: row (2 * down + across) * channels +
  // channel of [4 * channels, channels].
  const PackedMatrix* upsample = nullptr;
  const float* upsample_bias = nullptr;  // [4 * channels]
  const float* class_weights = nullptr;  // [classes, channels]: a 1x1 convolution
  const float* class_bias = nullptr;     // [classes]
};

// Doubles each map's sides by the transposed convolution, applies ReLU, and gives the sigmoid of
// one class's logit: that of the map's own label. The doubled maps stay in a worker's scratch
// memory.
//
// x: [maps * side * side, channels]; labels: one a map, below the classes; out: [maps, 4 * side *
// side], row-major pixels. A map's result does not depend on the others. Throws
// std::invalid_argument if shapes do not fit.
void MaskUpsample(Context& context, ConstView x, int64_t side, std::span<const int64_t> labels,
                  const MaskUpsampleWeights& weights, View out);

}  // namespace spatialmamba
