#pragma once

#include <cstdint>
#include <vector>

#include "model/ops/box.h"

namespace spatialmamba {

// How a picture is cut: squares of `size` pixels, neighbours sharing at least `overlap` of them.
struct TileOptions {
  int64_t size = 0;     // at least 1
  int64_t overlap = 0;  // 0 to size / 2
};

// A part of a picture that is worked on as a picture of its own.
struct Tile {
  int64_t top = 0;
  int64_t left = 0;
  int64_t height = 0;
  int64_t width = 0;

  bool operator==(const Tile&) const = default;
};

// The fewest equally spaced positions that cover an axis of `length` pixels: the first at 0, the
// last ending at the end. One position if the axis is not longer than a tile.
std::vector<int64_t> TilePositions(int64_t length, const TileOptions& options);

// How many tiles TilePicture makes, without making them.
int64_t TileCount(const PixelSize& picture, const TileOptions& options);

// The tiles of a picture, row by row; all of one size, which is that of the picture along an axis
// that is shorter than a tile. Throws std::invalid_argument for options or pictures that cannot be.
std::vector<Tile> TilePicture(const PixelSize& picture, const TileOptions& options);

}  // namespace spatialmamba
