#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <tiffio.h>

#include "model/image/image.h"

namespace spatialmamba {

// How the pixels of a page are stored.
struct TiffPage {
  uint32_t height = 0;
  uint32_t width = 0;
  uint16_t bits = 1;
  uint16_t samples = 1;
  uint16_t sample_format = SAMPLEFORMAT_UINT;
  uint16_t planes = PLANARCONFIG_CONTIG;
  uint16_t photometric = 0;
  uint16_t compression = COMPRESSION_NONE;
  uint16_t ink_set = INKSET_CMYK;
  int colours = 1;  // samples that make the colour; the others are dropped
  std::array<uint16_t*, 3> palette = {};
};

// Strips are tiles as wide as the picture.
struct TiffTiling {
  bool tiled = false;
  uint32_t height = 0;
  uint32_t width = 0;
  int64_t bytes = 0;  // of a tile, or of a tile's plane
  int64_t row_bytes = 0;
};

// Where a tile lies, and its bytes: one plane, or one a colour.
struct TiffTile {
  uint32_t top = 0;
  uint32_t left = 0;
  std::vector<std::vector<uint8_t>> planes;
};

// Writes what of a tile lies within the picture, as RGB.
void CopyTile(const TiffPage& page, const TiffTiling& tiling, const TiffTile& tile, Image& image);

}  // namespace spatialmamba
