#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/ops/row_items.h"
#include "model/ops/view.h"

namespace spatialmamba {

inline constexpr size_t kPyramidLevels = 5;

// A map of all images of a batch, `stride` pixels of the network's input from pixel to pixel.
struct PyramidLevel {
  View map;  // [tokens, channels]; without data while memory is only planned
  std::vector<Span> spans;
  int64_t stride = 0;

  int64_t tokens() const { return TotalTokens(spans); }
};

// Strides 4, 8, 16, 32 and 64.
using Pyramid = std::array<PyramidLevel, kPyramidLevels>;

// The sizes of the levels for images of those sizes. The first four are those of the backbone's
// maps.
inline Pyramid PyramidOf(std::span<const Span> images) {
  Pyramid pyramid;
  std::vector<Span> spans = Halved(std::vector<Span>(images.begin(), images.end()));
  int64_t stride = 2;
  for (PyramidLevel& level : pyramid) {
    spans = Halved(spans);
    stride *= 2;
    level.spans = spans;
    level.stride = stride;
  }
  return pyramid;
}

}  // namespace spatialmamba
