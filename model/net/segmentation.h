#pragma once

#include <cstdint>
#include <vector>

#include "model/ops/box.h"

namespace spatialmamba {

// What one image of a batch asks of a segmenter.
struct SegmentQuery {
  PixelSize original;       // of the picture: the labels have this size
  bool confidence = false;  // also wanted, as the next
  bool logits = false;
};

struct SegmentOutput {
  std::vector<uint16_t> labels;       // [original.height, original.width]
  std::vector<int64_t> class_pixels;  // [classes], of the labels
  // If wanted: the probability of the best class at the head's own resolution, 255 = certain.
  int64_t confidence_height = 0;
  int64_t confidence_width = 0;
  std::vector<uint8_t> confidence;
  // If wanted: the head's logits [logits_size.height, logits_size.width, classes], which become
  // labels by two bilinear resizes, first to `input`, the network's input, then to the picture.
  PixelSize logits_size;
  PixelSize input;
  std::vector<float> logits;
  bool operator==(const SegmentOutput&) const = default;
};

}  // namespace spatialmamba
