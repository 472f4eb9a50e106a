#pragma once

#include <cstdint>
#include <span>

#include "model/ops/box.h"
#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// One image's map on one level of a pyramid, channels last.
struct RoiMap {
  const float* data = nullptr;  // [height * width, channels]
  int64_t stride = 0;           // between pixels, in elements
  int64_t height = 0;
  int64_t width = 0;
  float scale = 1;  // pixels of the map per pixel of the box's picture
};

// A region of interest: a box and which map it reads.
struct Roi {
  Box box;
  int64_t map = 0;
};

// RoIAlign (Mask R-CNN, arXiv 1703.06870), aligned: each box is cut into cells x cells, each cell
// averages ceil(side / cells) bilinear samples along each axis, a number of its own for each box.
// Coordinates are half a pixel less than the scaled box's; samples more than a pixel outside the
// map count as zero, a box without extent gives zeros.
//
// out: [rois * cells * cells, channels], cells row-major. A box's cells do not depend on the other
// boxes. Throws std::invalid_argument if sizes do not fit or a box names no map.
void RoiAlign(Context& context, std::span<const RoiMap> maps, std::span<const Roi> rois,
              int64_t cells, View out);

}  // namespace spatialmamba
