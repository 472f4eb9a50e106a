#include "model/net/roi_levels.h"

#include <algorithm>
#include <cmath>

namespace spatialmamba {
namespace {

constexpr size_t kRoiLevels = 4;

}  // namespace

std::vector<RoiMap> RoiMaps(const Pyramid& pyramid) {
  std::vector<RoiMap> maps;
  for (size_t i = 0; i < kRoiLevels; ++i) {
    const PyramidLevel& level = pyramid[i];
    for (const Span& span : level.spans) {
      maps.push_back({level.map.row(span.offset), level.map.stride, span.height, span.width,
                      1.0F / static_cast<float>(level.stride)});
    }
  }
  return maps;
}

Roi RoiOf(const Box& box, int64_t image, int64_t images) {
  const float side = std::sqrt((box.right - box.left) * (box.bottom - box.top));
  const float level = std::floor(std::log2(side / 56.0F + 1e-6F));
  const float last = static_cast<float>(kRoiLevels - 1);
  return {box, static_cast<int64_t>(std::clamp(level, 0.0F, last)) * images + image};
}

}  // namespace spatialmamba
