#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/net/pooling_pyramid.h"
#include "model/net/pyramid.h"
#include "model/net/pyramid_bottleneck.h"
#include "model/ops/arena.h"
#include "model/ops/context.h"

namespace spatialmamba {

// UPerNet's head (arXiv 1807.10221) as in mmseg: a pooling pyramid on the last of four maps, a
// feature pyramid over it, all levels joined at the first one's size, and a logit for each class.
// Const after construction.
class UperHead {
 public:
  // `tensors` holds what UperNetTensors lists below `key`.
  UperHead(const BoundTensors& tensors, const std::string& key, const ModelSpec& spec);

  // features: the maps of the pyramid's first four levels (its own maps are not read). logits:
  // [tokens of the first level, classes]. Takes WorkspaceFloats from the arena and gives them back.
  void Forward(Context& context, Arena& arena, std::span<const ConstView> features,
               const Pyramid& pyramid, View logits) const;

  int64_t WorkspaceFloats(const Pyramid& pyramid) const;
  int64_t classes() const { return classifier_.weights.outputs(); }

 private:
  int64_t channels() const { return classifier_.weights.inputs(); }
  void FillLaterals(Context& context, Arena& arena, std::span<const ConstView> features,
                    const Pyramid& pyramid, std::span<const View, 4> laterals) const;

  PoolingPyramid pooling_;
  std::array<LinearLayer, 3> lateral_;
  std::array<LinearLayer, 3> output_;
  PyramidBottleneck bottleneck_;
  LinearLayer classifier_;
};

}  // namespace spatialmamba
