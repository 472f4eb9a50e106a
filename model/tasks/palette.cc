#include "model/tasks/palette.h"

#include <cstdint>

namespace spatialmamba {

RgbColor DistinctColor(size_t index) {
  unsigned red = 0;
  unsigned green = 0;
  unsigned blue = 0;
  auto rest = static_cast<unsigned>(index);
  for (unsigned shift = 8; shift-- > 0 && rest != 0; rest >>= 3U) {
    red |= (rest & 1U) << shift;
    green |= (rest >> 1U & 1U) << shift;
    blue |= (rest >> 2U & 1U) << shift;
  }
  return {static_cast<uint8_t>(red), static_cast<uint8_t>(green), static_cast<uint8_t>(blue)};
}

}  // namespace spatialmamba
