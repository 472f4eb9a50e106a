#pragma once

#include <cstdint>
#include <vector>

#include "model/ops/box.h"
#include "model/ops/run_lengths.h"
#include "model/tasks/tiles.h"

namespace spatialmamba {

// A binary mask somewhere in a larger picture: its set pixels as runs down single columns. Takes
// memory by the mask's own size, not by the picture's.
class PlacedMask {
 public:
  PlacedMask() = default;
  // A mask of a tile's size, where the tile is.
  PlacedMask(const RunLengths& mask, const Tile& tile);

  // Set pixels in `region`; in both masks, in `region`.
  int64_t AreaIn(const Tile& region) const;
  int64_t SharedIn(const PlacedMask& other, const Tile& region) const;

  // Pixels that are set in either.
  PlacedMask Union(const PlacedMask& other) const;

  // As a mask of the whole picture. Pixels beyond it are an error: std::invalid_argument.
  RunLengths InPicture(const PixelSize& picture) const;

 private:
  // Pixels [top, bottom) of a column. Sorted by column, then row; they neither touch nor overlap.
  struct Run {
    int64_t column = 0;
    int64_t top = 0;
    int64_t bottom = 0;
  };
  std::vector<Run> runs_;
};

}  // namespace spatialmamba
