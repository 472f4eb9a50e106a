#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/net/layers.h"
#include "model/net/pyramid.h"
#include "model/ops/arena.h"
#include "model/ops/box.h"
#include "model/ops/context.h"

namespace spatialmamba {

// Boxes of one image that may hold an object, best score first, in pixels of the network's input.
struct Proposals {
  std::vector<Box> boxes;
  std::vector<float> scores;
};

// Region proposals (Faster R-CNN, arXiv 1506.01497) with mmdet's test settings: of each level the
// best kLimit anchors, their boxes moved by the regression, suppressed level by level at overlap
// 0.7, the best kLimit of all. Const after construction.
class Rpn {
 public:
  static constexpr int64_t kLimit = 1000;

  // `tensors` holds rpn_conv, rpn_cls and rpn_reg below `key`.
  Rpn(const BoundTensors& tensors, const std::string& key, int64_t channels);

  // Proposals of every image; valid: the images' sizes without padding. Takes WorkspaceFloats from
  // the arena and gives them back. Throws std::domain_error if a score or a delta is not finite.
  std::vector<Proposals> Forward(Context& context, Arena& arena, const Pyramid& pyramid,
                                 std::span<const PixelSize> valid) const;

  int64_t WorkspaceFloats(const Pyramid& pyramid) const;

 private:
  LinearLayer conv_;
  LinearLayer predict_;  // three scores, then three times four deltas
};

}  // namespace spatialmamba
