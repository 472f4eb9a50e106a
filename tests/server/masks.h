#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spatialmamba/v1/vision.pb.h"

namespace spatialmamba {

// Pixels as a PNG file holds them, nothing expanded. Read by libpng itself.
struct PngPixels {
  int64_t height = 0;
  int64_t width = 0;
  int bits = 0;
  bool palette = false;
  std::vector<int> colors;       // red, green, blue of each entry
  std::vector<uint16_t> values;  // row-major
};
PngPixels ReadPng(const std::string& file);

// 1 where a mask is set, row-major, by the definition of COCO's run lengths.
std::vector<uint16_t> SetPixels(const v1::CocoRle& mask);
// The same for polygons whose corners are whole numbers: pixels whose centre is inside.
std::vector<uint16_t> SetPixels(const v1::PolygonMask& mask, int64_t height, int64_t width);

// Of two lists of the same length; -1 if they are not.
int64_t DifferentPixels(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b);

// A file of the source tree.
std::string ReadFile(const std::string& path);

}  // namespace spatialmamba
