#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "model/net/layers.h"
#include "model/net/pyramid.h"
#include "model/ops/arena.h"
#include "model/ops/context.h"

namespace spatialmamba {

// Feature pyramid (arXiv 1612.03144) as in mmdet: a 1x1 convolution of each of four maps, plus the
// enlarged map above, then a 3x3 convolution; the fifth level is every second pixel of the fourth.
// Const after construction.
class Fpn {
 public:
  // `tensors` holds lateral_convs and fpn_convs below `key`. dims: channels of the four maps.
  Fpn(const BoundTensors& tensors, const std::string& key, const std::array<int64_t, 4>& dims,
      int64_t channels);

  // Fills the pyramid's maps, [tokens, channels] each; features are those of the first four levels'
  // spans. Takes WorkspaceFloats from the arena and gives them back.
  void Forward(Context& context, Arena& arena, std::span<const ConstView> features,
               const Pyramid& pyramid) const;

  int64_t WorkspaceFloats(const Pyramid& pyramid) const;
  int64_t channels() const { return lateral_[0].weights.outputs(); }

 private:
  std::array<LinearLayer, 4> lateral_;
  std::array<LinearLayer, 4> output_;
};

}  // namespace spatialmamba
