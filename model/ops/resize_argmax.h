#pragma once

#include <cstdint>
#include <span>

#include "model/ops/box.h"
#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// The sizes of an image's logits, of what they are enlarged to first, and of the labels.
struct ResizeSteps {
  PixelSize from;
  PixelSize between;  // not smaller than `from`
  PixelSize to;
};

// The class of the largest logit for each pixel of `to`, after two bilinear resizes; of equal
// logits the lowest class. The resized logits of all classes exist nowhere: in each block of
// pixels, a class whose logit is below that of one reference class in every pixel of `from` that
// the block reads cannot win, since interpolation weights are not negative, and is not looked at
// again.
//
// logits: [from.height * from.width, classes] of one image, finite; labels: [to.height * to.width];
// class_pixels: [classes], how many labels are of each. No label depends on the threads. Throws
// std::invalid_argument if shapes do not fit or there are more than 65536 classes.
void ResizeArgmax(Context& context, ConstView logits, const ResizeSteps& steps,
                  std::span<uint16_t> labels, std::span<int64_t> class_pixels);

}  // namespace spatialmamba
