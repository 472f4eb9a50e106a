#pragma once

#include <cstdint>
#include <vector>

namespace spatialmamba {

// A decoded picture: uint8, row-major, [height, width, 3], RGB.
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint8_t> rgb;
};

}  // namespace spatialmamba
