#include "model/image/orient.h"

#include <algorithm>
#include <cstdint>

namespace spatialmamba {
namespace {

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

}  // namespace

Image Upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) {
    return image;
  }
  const bool turned = orientation >= 5;
  Image result =
      BlackImage(turned ? image.width : image.height, turned ? image.height : image.width);
  const Walk walk = WalkOf(orientation, image.height, image.width);
  for (int64_t row = 0; row < result.height; ++row) {
    uint8_t* target = Row(result, row);
    int64_t source = walk.first + row * walk.down;
    for (int64_t column = 0; column < result.width; ++column, source += walk.right) {
      target = std::copy_n(image.rgb.data() + source * 3, 3, target);
    }
  }
  return result;
}

}  // namespace spatialmamba
