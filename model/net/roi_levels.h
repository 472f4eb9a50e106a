#pragma once

#include <cstdint>
#include <vector>

#include "model/net/pyramid.h"
#include "model/ops/roi_align.h"

namespace spatialmamba {

// The maps of a pyramid's first four levels as RoIAlign reads them: map level * images + image.
std::vector<RoiMap> RoiMaps(const Pyramid& pyramid);

// A box of an image with the map of the level that its area asks for: floor(log2(sqrt(area) / 56 +
// 1e-6)) in float32, clamped to 0..3.
Roi RoiOf(const Box& box, int64_t image, int64_t images);

}  // namespace spatialmamba
