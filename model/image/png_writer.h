#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "model/image/image.h"

namespace spatialmamba {

struct RgbColor {
  uint8_t red = 0;
  uint8_t green = 0;
  uint8_t blue = 0;
};

inline constexpr size_t kLargestPalette = 256;

// PNG files (W3C PNG, third edition) of pixels in memory, row-major [height, width]. All throw
// std::invalid_argument if sizes do not fit, std::bad_alloc if there is no memory.

// Eight bits a pixel: indices of the palette's colours. Each index must be below its size, which is
// at most kLargestPalette.
std::string EncodePalettePng(std::span<const uint8_t> indices, int64_t height, int64_t width,
                             std::span<const RgbColor> palette);
// Sixteen bits a pixel.
std::string EncodeGrey16Png(std::span<const uint16_t> values, int64_t height, int64_t width);
// Eight bits a pixel: 255 where `set` is not 0, else 0.
std::string EncodeMaskPng(std::span<const uint8_t> set, int64_t height, int64_t width);
std::string EncodeRgbPng(const Image& image);

}  // namespace spatialmamba
