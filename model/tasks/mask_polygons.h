#pragma once

#include <cstdint>
#include <vector>

#include "model/ops/run_lengths.h"

namespace spatialmamba {

// The outline of one part of a mask, clockwise as seen on a screen. Corners are corners of pixels:
// pixel (x, y) reaches from (x, y) to (x + 1, y + 1).
struct MaskPolygon {
  struct Corner {
    int64_t x = 0;
    int64_t y = 0;
    bool operator==(const Corner&) const = default;
  };
  std::vector<Corner> corners;  // two neighbours differ in x or in y, never in both
  bool operator==(const MaskPolygon&) const = default;
};

// The outer borders of a mask's parts, in the order of their topmost, leftmost pixels; nothing for
// an empty mask. Pixels that touch only at a corner belong to different parts. Holes are not in the
// answer (COCO's polygons cannot say them): filled, the polygons are the mask with its holes
// filled.
std::vector<MaskPolygon> ToPolygons(const RunLengths& mask);

}  // namespace spatialmamba
