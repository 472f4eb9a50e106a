#pragma once

#include <cstdint>
#include <span>

#include "model/ops/box.h"
#include "model/ops/view.h"

namespace spatialmamba {

// Boxes that every pixel of a pyramid's level proposes.
inline constexpr int64_t kAnchorsPerPixel = 3;

// The boxes with the given indices of a map `width` pixels wide whose pixels lie `stride` pixels of
// the picture apart. Index (y * width + x) * 3 + a is the box of area (8 * stride)^2 with
// height/width ratio 1/2, 1 or 2 for a = 0, 1, 2, centred on (x * stride, y * stride): no
// half-pixel offset. Throws std::invalid_argument if the sizes of indices and out differ.
void AnchorBoxes(std::span<const int64_t> indices, int64_t width, int64_t stride,
                 std::span<Box> out);

// What a regression's four outputs are multiplied by before they move a box: centre x and y, width,
// height.
struct DeltaScales {
  float centre = 1;
  float extent = 1;
};

// Moves each box's centre by the first two deltas (in units of its sides), stretches its sides by
// exp of the other two, clamped to +-log(1000/16), and clips to the picture. deltas: [boxes, 4];
// out may be boxes. Arithmetic in float32, in the order of the published detectors (mmdet's
// DeltaXYWHBBoxCoder). Throws std::invalid_argument if sizes do not fit.
void DecodeBoxes(std::span<const Box> boxes, ConstView deltas, const DeltaScales& scales,
                 const PixelSize& picture, std::span<Box> out);

}  // namespace spatialmamba
