#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/net/detections.h"
#include "model/ops/box.h"
#include "model/ops/context.h"
#include "model/ops/run_lengths.h"

namespace spatialmamba {

// One object found in a picture.
struct DetectedObject {
  Box box;  // in pixels of the original picture
  float score = 0;
  int64_t label = 0;               // index of its class
  std::optional<RunLengths> mask;  // of the original picture's size; may be without a set pixel
};

// A mask as COCO's tools read it: {"size": [height, width], "counts": counts}.
struct CocoMask {
  int64_t height = 0;
  int64_t width = 0;
  std::string counts;
};
CocoMask ToCoco(const RunLengths& mask);

// The two sizes between which results are converted.
struct PictureSizes {
  PixelSize original;
  PixelSize resized;  // as the network saw it, without padding
};

// A box in pixels of the resized picture, in those of the original: divided by the ratio of the
// sizes, each axis its own. Not clipped again.
Box ToOriginal(const Box& box, const PictureSizes& sizes);

// The objects of one image in the order of `output`: by falling score, then by index. Masks, if
// `output` has them, are pasted by all threads of the context. Throws std::invalid_argument if a
// size is not positive or the masks are not as many as the detections.
std::vector<DetectedObject> ToObjects(Context& context, const DetectOutput& output,
                                      const PictureSizes& sizes);

}  // namespace spatialmamba
