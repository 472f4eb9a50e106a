#include "model/image/orient.h"

#include <algorithm>
#include <cstdint>

namespace spatialmamba {
namespace {

constexpr int64_t kSquare = 64;

// The stored pixel shown at (row, column) is first + row * down + column * right.
struct Walk {
  int64_t first = 0;
  int64_t down = 0;
  int64_t right = 0;
};

Walk WalkOf(int orientation, int64_t height, int64_t width) {
  const int64_t top_right = width - 1;
  const int64_t bottom_left = (height - 1) * width;
  const int64_t bottom_right = height * width - 1;
  switch (orientation) {
    case 2:
      return {top_right, width, -1};
    case 3:
      return {bottom_right, -width, -1};
    case 4:
      return {bottom_left, -width, 1};
    case 5:
      return {0, 1, width};
    case 6:
      return {bottom_left, 1, -width};
    case 7:
      return {bottom_right, -1, -width};
    case 8:
      return {top_right, -1, width};
    default:
      return {0, width, 1};
  }
}

void CopySquare(const Image& image, const Walk& walk, int64_t top, int64_t left, Image& result) {
  const int64_t bottom = std::min(top + kSquare, result.height);
  const int64_t right = std::min(left + kSquare, result.width);
  for (int64_t row = top; row < bottom; ++row) {
    uint8_t* target = Row(result, row) + left * 3;
    int64_t source = walk.first + row * walk.down + left * walk.right;
    for (int64_t column = left; column < right; ++column, source += walk.right) {
      target = std::copy_n(image.rgb.data() + source * 3, 3, target);
    }
  }
}

}  // namespace

Image Upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) {
    return image;
  }
  const bool turned = orientation >= 5;
  Image result =
      BlackImage(turned ? image.width : image.height, turned ? image.height : image.width);
  const Walk walk = WalkOf(orientation, image.height, image.width);
  // In squares, so that what a turned picture reads column by column stays in the cache.
  for (int64_t top = 0; top < result.height; top += kSquare) {
    for (int64_t left = 0; left < result.width; left += kSquare) {
      CopySquare(image, walk, top, left, result);
    }
  }
  return result;
}

}  // namespace spatialmamba
