#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/ops/box.h"

namespace spatialmamba {

inline constexpr int64_t kMaskSide = 28;

// What one image of a batch asks of a detector, with the published test settings as defaults.
struct DetectQuery {
  PixelSize valid;  // the network's input without its padding: where boxes are clipped
  float score_threshold = 0.05F;  // a detection's score is larger
  double nms_overlap = 0.5;       // of a class, a better box suppresses those that overlap it more
  int64_t max_detections = 100;
  std::optional<std::vector<int64_t>> classes;  // only these; nothing: all
  bool masks = true;                            // if the network has them
};

struct Detection {
  Box box;  // in pixels of the network's input
  float score = 0;
  int64_t label = 0;
  bool operator==(const Detection&) const = default;
};

struct DetectOutput {
  std::vector<Detection> detections;  // best score first, then by proposal and class
  // [detections, kMaskSide, kMaskSide] of each detection's own class; empty without masks.
  std::vector<float> mask_probabilities;
  bool operator==(const DetectOutput&) const = default;
};

}  // namespace spatialmamba
