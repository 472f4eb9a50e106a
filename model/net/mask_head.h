#pragma once

#include <array>
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

// The transposed convolution [inputs, outputs, 2, 2] below `key`, as PyTorch keeps it, as a linear
// layer with rows of (tap, output); the bias once for each tap.
LinearLayer MakeMaskUpsample(const BoundTensors& tensors, const std::string& key, int64_t channels);

// The mask head of Mask R-CNN: RoIAlign 14x14, four convolutions, a transposed one to 28x28, and a
// probability for the box's own class. Const after construction.
class MaskHead {
 public:
  // `tensors` holds convs, upsample and conv_logits below `key`.
  MaskHead(const BoundTensors& tensors, const std::string& key, int64_t channels);

  // out: [rois, kMaskSide * kMaskSide], of each box the probabilities of its label. A row does not
  // depend on the others. Takes WorkspaceFloats from the arena and gives them back.
  void Forward(Context& context, Arena& arena, std::span<const RoiMap> maps,
               std::span<const Roi> rois, std::span<const int64_t> labels, View out) const;

  // For any number of boxes.
  int64_t WorkspaceFloats() const;

 private:
  int64_t channels_;
  std::array<LinearLayer, 4> convs_;
  LinearLayer upsample_;
  std::vector<float> class_weights_;
  std::vector<float> class_bias_;
};

}  // namespace spatialmamba
