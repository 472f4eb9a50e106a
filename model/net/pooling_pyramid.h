#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/net/layers.h"
#include "model/net/pyramid_bottleneck.h"
#include "model/ops/arena.h"
#include "model/ops/context.h"

namespace spatialmamba {

// The pooling pyramid of PSPNet (arXiv 1612.01105): a map beside its averages over a few grids,
// each through a 1x1 convolution and enlarged again, into a 3x3 convolution. Const after
// construction.
class PoolingPyramid {
 public:
  // `tensors` holds psp_modules and bottleneck below `key`. inputs: the map's channels; scales: the
  // grids' sides. Throws std::invalid_argument if there is none or one is not positive.
  PoolingPyramid(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                 std::vector<int64_t> scales);

  // out: [tokens of the map, channels]. Takes WorkspaceFloats from the arena and gives them back.
  void Forward(Context& context, Arena& arena, const SizedMap& x, View out) const;

  int64_t WorkspaceFloats(int64_t images) const;

 private:
  int64_t channels() const { return convs_[0].weights.outputs(); }

  std::vector<int64_t> scales_;
  std::vector<LinearLayer> convs_;
  PyramidBottleneck bottleneck_;
};

}  // namespace spatialmamba
