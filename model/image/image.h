#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spatialmamba {

// A decoded picture: uint8, row-major, [height, width, 3], RGB.
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint8_t> rgb;
};

// A black picture; the caller has bounded its size.
inline Image BlackImage(int64_t height, int64_t width) {
  return {
      .height = height,
      .width = width,
      .rgb = std::vector<uint8_t>(static_cast<size_t>(height) * static_cast<size_t>(width) * 3)};
}

// The first byte of a row.
inline uint8_t* Row(Image& image, int64_t row) { return image.rgb.data() + row * image.width * 3; }
inline const uint8_t* Row(const Image& image, int64_t row) {
  return image.rgb.data() + row * image.width * 3;
}

}  // namespace spatialmamba
