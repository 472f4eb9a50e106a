#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace spatialmamba {

// Where a pixel's centre falls in the map along one axis: between cells `cell` and cell + 1, the
// first of which may be -1 and the second `side`, both then zero. All arithmetic in float32, in the
// order of mmdet's _do_paste_mask and PyTorch's grid_sample.
struct MapPosition {
  int64_t cell = 0;
  float to_next = 0;  // weight of cell + 1
};

// Position of a pixel of a box [low, high] along one axis; false if it falls outside the map.
inline bool PositionInMap(int64_t pixel, float low, float high, int64_t side, MapPosition& at) {
  const float extent = high - low;
  float x = (static_cast<float>(pixel) + 0.5F - low) / extent * 2.0F - 1.0F;
  if (std::isinf(x)) x = 0.0F;
  const float position = (x + 1.0F) * (static_cast<float>(side) / 2.0F) - 0.5F;
  if (!(position > -1.0F && position < static_cast<float>(side))) return false;
  const float floor = std::floor(position);
  at = {static_cast<int64_t>(floor), position - floor};
  return true;
}

// Between the four corners of a square of cells, the first letter down, the second across.
struct Corners {
  float nw = 0;
  float ne = 0;
  float sw = 0;
  float se = 0;
};

inline float Bilinear(const Corners& c, float down, float across) {
  const float up = 1.0F - down;
  const float back = 1.0F - across;
  return c.nw * (up * back) + c.ne * (up * across) + c.sw * (down * back) + c.se * (down * across);
}

// Pixels [first, first + positions.size()) of one axis are those that fall in the map.
struct MapAxis {
  int64_t first = 0;
  std::vector<MapPosition> positions;
};

struct MaskPasteParams {
  const float* probabilities = nullptr;  // [side, side]
  int64_t side = 0;
  const MapAxis* down = nullptr;
  const MapAxis* across = nullptr;
  int64_t height = 0;  // of the picture
  int64_t width = 0;
};

// The lengths of the runs, unset first, in the picture's column-major order.
void PasteMaskCpu(const MaskPasteParams& params, std::vector<int64_t>& counts);

}  // namespace spatialmamba
