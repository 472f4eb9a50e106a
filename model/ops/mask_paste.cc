#include "model/ops/mask_paste.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "model/ops/mask_paste_params.h"

namespace spatialmamba {
namespace {

// Those pixels of [0, size) that fall in the map: neighbours, because positions rise with the
// pixel.
MapAxis AxisOf(float low, float high, int64_t side, int64_t size) {
  // Below this extent positions overflow, which means the middle of the map for every pixel.
  const bool regular = high - low > 1e-30F;
  int64_t first = 0;
  int64_t last = size;
  if (regular) {  // the map reaches half a cell past the box
    const double margin =
        (static_cast<double>(high) - static_cast<double>(low)) / static_cast<double>(side) + 2;
    const double begin = std::floor(static_cast<double>(low) - margin);
    const double end = std::ceil(static_cast<double>(high) + margin);
    first = static_cast<int64_t>(std::clamp(begin, 0.0, static_cast<double>(size)));
    last = static_cast<int64_t>(std::clamp(end, 0.0, static_cast<double>(size)));
  }
  MapAxis axis;
  for (int64_t pixel = first; pixel < last; ++pixel) {
    MapPosition at;
    if (!PositionInMap(pixel, low, high, side, at)) {
      if (regular) continue;
      at = {-2, 0};  // 0 / 0 where a centre lies exactly on an empty box: outside
    }
    if (axis.positions.empty()) axis.first = pixel;
    axis.positions.push_back(at);
  }
  return axis;
}

}  // namespace

RunLengths PasteMask(const BoxMask& mask, const PixelSize& picture) {
  const Box& box = mask.box;
  if (mask.side < 1 || static_cast<int64_t>(mask.probabilities.size()) != mask.side * mask.side ||
      picture.height < 1 || picture.width < 1) {
    throw std::invalid_argument("PasteMask: sizes do not fit");
  }
  for (const float coordinate : {box.left, box.top, box.right, box.bottom}) {
    if (!std::isfinite(coordinate)) {
      throw std::invalid_argument("PasteMask: a coordinate of the box is not finite");
    }
  }
  const MapAxis down = AxisOf(box.top, box.bottom, mask.side, picture.height);
  const MapAxis across = AxisOf(box.left, box.right, mask.side, picture.width);
  RunLengths runs{picture.height, picture.width, {}};
  PasteMaskCpu({.probabilities = mask.probabilities.data(),
                .side = mask.side,
                .down = &down,
                .across = &across,
                .height = picture.height,
                .width = picture.width},
               runs.counts);
  return runs;
}

}  // namespace spatialmamba
