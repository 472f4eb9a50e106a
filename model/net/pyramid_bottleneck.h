#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/net/layers.h"
#include "model/ops/arena.h"
#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// A map of all images of a batch and their sizes.
struct SizedMap {
  ConstView map;  // [tokens, channels]
  std::span<const Span> spans;
};

// 3x3 convolution, BatchNorm and ReLU of several maps side by side, of which the first has the
// result's size and the others are enlarged to it bilinearly. Enlarging commutes with the product
// of a tap, so that the others are multiplied as they are and their products enlarged: the same
// result but for rounding, with a quarter of the multiplications for a map of half the size. Const
// after construction.
class PyramidBottleneck {
 public:
  // `tensors` holds conv and bn below `key`. channels: of the maps, in their order.
  PyramidBottleneck(const BoundTensors& tensors, const std::string& key,
                    std::span<const int64_t> channels);

  // out: [tokens of maps[0], outputs], not in memory of a map. Takes WorkspaceFloats from the arena
  // and gives them back.
  void Forward(Context& context, Arena& arena, std::span<const SizedMap> maps, View out) const;

  // tokens: of the maps that are enlarged, all of them together.
  int64_t WorkspaceFloats(int64_t tokens) const;

 private:
  // Outputs whose products are held at the same time: bounds the memory.
  static constexpr int64_t kOutputsAtOnce = 64;

  LinearLayer first_;
  std::vector<std::vector<PackedMatrix>> products_;  // by piece of outputs, then map
};

}  // namespace spatialmamba
