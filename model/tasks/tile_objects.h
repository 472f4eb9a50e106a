#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/ops/box.h"
#include "model/tasks/detect.h"
#include "model/tasks/tiles.h"

namespace spatialmamba {

// What was found in one tile, in the tile's own pixels.
struct TileObjects {
  Tile tile;
  std::vector<DetectedObject> objects;
};

struct MergeOptions {
  double agreement = 0.5;    // two tiles saw the same where their views overlap by at least this
  double nms_overlap = 0.5;  // afterwards, a better box of the class suppresses those beyond it
  int64_t limit = 0;         // at most so many objects
};

// The objects of the whole picture, best score first, in its pixels.
//
// Two objects of one class from different tiles are one if they agree on the part of the picture
// that both tiles see: intersection over union of their masks there, or of their boxes if there are
// no masks. A tile contributes one object to a merged one at most. Where a tile saw the object
// whole (its box ends before the tile's inner edges) the best such view is the answer; otherwise
// the pieces are joined: union of the masks, enclosing box, the best score. The answer does not
// depend on the order of `tiles` beyond the tie of equal scores, which the first tile wins.
std::vector<DetectedObject> MergeTileObjects(std::span<const TileObjects> tiles,
                                             const PixelSize& picture, const MergeOptions& options);

}  // namespace spatialmamba
