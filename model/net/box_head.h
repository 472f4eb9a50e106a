#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/net/detections.h"
#include "model/net/layers.h"
#include "model/ops/arena.h"
#include "model/ops/context.h"
#include "model/ops/roi_align.h"

namespace spatialmamba {

// Sizes of a box head.
struct BoxHeadSizes {
  int64_t channels = 0;  // of the pyramid
  int64_t hidden = 0;
  int64_t classes = 0;  // without the background
};

// The box head of Faster R-CNN: RoIAlign 7x7, two shared linear layers, a score for each class and
// the background, and a regression for each class. Const after construction.
class BoxHead {
 public:
  // `tensors` holds shared_fcs, fc_cls and fc_reg below `key`.
  BoxHead(const BoundTensors& tensors, const std::string& key, const BoxHeadSizes& sizes);

  // Class logits (the background last), then four deltas a class, for each box: out [rois,
  // outputs()]. A row does not depend on the others. Takes WorkspaceFloats from the arena and gives
  // them back.
  void Forward(Context& context, Arena& arena, std::span<const RoiMap> maps,
               std::span<const Roi> rois, View out) const;

  // The detections of one image, from the rows of its proposals: every pair of proposal and class
  // whose probability is above the threshold, suppressed class by class. Throws std::domain_error
  // if an output is not finite.
  std::vector<Detection> Select(ConstView outputs, std::span<const Box> proposals,
                                const DetectQuery& query) const;

  int64_t outputs() const { return predict_.weights.outputs(); }
  int64_t classes() const { return classes_; }
  // For at most so many boxes.
  int64_t WorkspaceFloats(int64_t rois) const;

 private:
  int64_t channels_;
  int64_t classes_;
  std::vector<PackedMatrix> first_;  // of each of the 49 cells [hidden, channels]
  std::vector<float> first_bias_;
  LinearLayer second_;
  LinearLayer predict_;
};

}  // namespace spatialmamba
