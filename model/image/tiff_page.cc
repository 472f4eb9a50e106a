#include "model/image/tiff_page.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "model/image/cmyk.h"

namespace spatialmamba {
namespace {

// The sample at an index within a row, as stored but for 16-bit ones, which lose their lower byte.
uint8_t Sample(const uint8_t* row, size_t index, unsigned bits) {
  if (bits == 8) {
    return row[index];
  }
  if (bits == 16) {
    uint16_t value = 0;  // libtiff has brought it to the order of this machine
    std::memcpy(&value, row + index * 2, sizeof(value));
    return static_cast<uint8_t>(value >> 8U);
  }
  const size_t bit = index * bits;
  const unsigned shift = 8U - bits - static_cast<unsigned>(bit % 8);
  return static_cast<uint8_t>((static_cast<unsigned>(row[bit / 8]) >> shift) & ((1U << bits) - 1));
}

std::array<uint8_t, 3> ToRgb(const TiffPage& page, const std::array<uint8_t, 4>& samples) {
  switch (page.photometric) {
    case PHOTOMETRIC_RGB:
      return {samples[0], samples[1], samples[2]};
    case PHOTOMETRIC_SEPARATED:
      return CmykToRgb(samples);
    case PHOTOMETRIC_PALETTE: {
      const auto entry = [&](const uint16_t* table) {
        return static_cast<uint8_t>(table[samples[0]] >> 8U);
      };
      return {entry(page.palette[0]), entry(page.palette[1]), entry(page.palette[2])};
    }
    default: {
      const int largest = page.bits >= 8 ? 255 : (1 << page.bits) - 1;
      const int grey = samples[0] * 255 / largest;
      const auto shown =
          static_cast<uint8_t>(page.photometric == PHOTOMETRIC_MINISWHITE ? 255 - grey : grey);
      return {shown, shown, shown};
    }
  }
}

}  // namespace

void CopyTile(const TiffPage& page, const TiffTiling& tiling, const TiffTile& tile, Image& image) {
  const bool separate = page.planes == PLANARCONFIG_SEPARATE;
  const size_t step = separate ? 1 : page.samples;
  const uint32_t height = std::min(tiling.height, page.height - tile.top);
  const uint32_t width = std::min(tiling.width, page.width - tile.left);
  std::array<uint8_t, 4> samples = {};
  for (uint32_t row = 0; row < height; ++row) {
    uint8_t* target = Row(image, int64_t{tile.top} + row) + int64_t{tile.left} * 3;
    for (uint32_t column = 0; column < width; ++column) {
      for (size_t colour = 0; colour < static_cast<size_t>(page.colours); ++colour) {
        const uint8_t* bytes = tile.planes[separate ? colour : 0].data() + row * tiling.row_bytes;
        samples[colour] = Sample(bytes, column * step + (separate ? 0 : colour), page.bits);
      }
      target = std::ranges::copy(ToRgb(page, samples), target).out;
    }
  }
}

}  // namespace spatialmamba
