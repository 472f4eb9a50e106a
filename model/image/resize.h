#pragma once

#include <cstdint>

#include "model/image/image.h"

namespace spatialmamba {

// A part of a picture, in pixels.
struct Window {
  int64_t top = 0;
  int64_t left = 0;
  int64_t height = 0;
  int64_t width = 0;
};

// The `window` of the picture resized to `height` x `width`, and nothing outside it, so that the
// cost follows the window and the source, not the resized picture. Equal to the last bit to
// Pillow's antialiased bicubic (before version 13): Keys' kernel with a = -0.5, weights rounded to
// 22 bits, first horizontally, rounded to bytes, then vertically. Throws std::invalid_argument if a
// size is not positive, the window leaves the result, or the picture's size is not that of its
// bytes.
Image ResizeBicubic(const Image& image, int64_t height, int64_t width, const Window& window);

// The picture resized to `height` x `width` by OpenCV's INTER_LINEAR: no antialiasing, fixed point
// with 11-bit weights, the same bytes in every version and on every processor. Throws
// std::invalid_argument as ResizeBicubic does.
Image ResizeBilinear(const Image& image, int64_t height, int64_t width);

}  // namespace spatialmamba
