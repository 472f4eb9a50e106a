#pragma once

#include <variant>
#include <vector>

#include "model/net/detections.h"
#include "model/net/segmentation.h"

namespace spatialmamba {

// What the network of each task is asked about one image, and what it says. (Detection and
// segmentation: see detections.h and segmentation.h.)
struct ClassifyQuery {};
struct ClassifyOutput {
  std::vector<float> logits;  // [classes]
};

// The alternatives stand in the order of VisionTask.
using Query = std::variant<ClassifyQuery, DetectQuery, SegmentQuery>;
using Prediction = std::variant<ClassifyOutput, DetectOutput, SegmentOutput>;

}  // namespace spatialmamba
