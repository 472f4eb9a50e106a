#include "model/tasks/tiles.h"

#include <algorithm>
#include <stdexcept>

namespace spatialmamba {
namespace {

int64_t PositionCount(int64_t length, const TileOptions& options) {
  if (options.size < 1 || options.overlap < 0 || options.overlap > options.size / 2) {
    throw std::invalid_argument("tiles: the overlap must be 0 to half of a tile");
  }
  if (length < 1) throw std::invalid_argument("tiles: a picture has no pixels");
  if (length <= options.size) return 1;
  const int64_t stride = options.size - options.overlap;
  return (length - options.size + stride - 1) / stride + 1;
}

}  // namespace

std::vector<int64_t> TilePositions(int64_t length, const TileOptions& options) {
  const int64_t count = PositionCount(length, options);
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < count; ++i) {
    positions.push_back(count == 1 ? 0 : i * (length - options.size) / (count - 1));
  }
  return positions;
}

int64_t TileCount(const PixelSize& picture, const TileOptions& options) {
  return PositionCount(picture.height, options) * PositionCount(picture.width, options);
}

std::vector<Tile> TilePicture(const PixelSize& picture, const TileOptions& options) {
  const std::vector<int64_t> tops = TilePositions(picture.height, options);
  const std::vector<int64_t> lefts = TilePositions(picture.width, options);
  const int64_t height = std::min(picture.height, options.size);
  const int64_t width = std::min(picture.width, options.size);
  std::vector<Tile> tiles;
  for (const int64_t top : tops) {
    for (const int64_t left : lefts) tiles.push_back({top, left, height, width});
  }
  return tiles;
}

}  // namespace spatialmamba
