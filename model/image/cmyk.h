#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace spatialmamba {

// Four inks, 255 meaning full, as light. No colour profile is applied: each colour is what black
// leaves, less its share of ink, rounded as Pillow does.
inline std::array<uint8_t, 3> CmykToRgb(const std::array<uint8_t, 4>& inks) {
  const int light = 255 - inks[3];
  std::array<uint8_t, 3> rgb = {};
  for (size_t channel = 0; channel < rgb.size(); ++channel) {
    const int product = inks[channel] * light + 128;
    rgb[channel] = static_cast<uint8_t>(light - (((product >> 8) + product) >> 8));
  }
  return rgb;
}

}  // namespace spatialmamba
