#pragma once

#include "model/image/image.h"

namespace spatialmamba {

// The picture as it is meant to be looked at: undoes EXIF orientation 1..8. Orientations from 5 on
// exchange height and width.
Image Upright(Image image, int orientation);

}  // namespace spatialmamba
