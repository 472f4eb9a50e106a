#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spatialmamba {

// A binary mask as the lengths of its runs down the columns, column after column: unset, set and so
// on. The first may be 0; the sum is height * width.
struct RunLengths {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<int64_t> counts;

  bool operator==(const RunLengths&) const = default;
};

// Set pixels.
int64_t Area(const RunLengths& mask);

// COCO's compressed `counts` (pycocotools' rleToString): each count less the one before last, in
// groups of five bits, lowest first.
std::string CocoCounts(const RunLengths& mask);

// One byte a pixel, 0 or 1, row-major [height, width].
std::vector<uint8_t> Bitmap(const RunLengths& mask);

}  // namespace spatialmamba
