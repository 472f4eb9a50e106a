#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/ops/box.h"
#include "model/ops/view.h"

namespace spatialmamba::gpu {

// A ragged batch of network inputs.
struct Batch {
  std::vector<float> pixels;  // [tokens, 3], normalised
  std::vector<Span> spans;

  ConstView view() const { return {pixels.data(), TotalTokens(spans), 3, 3}; }
  int64_t images() const { return static_cast<int64_t>(spans.size()); }
  void Add(const Batch& other);
  // The image alone.
  Batch Image(size_t i) const;
};

// A synthetic picture as a network's input.
Batch Picture(int64_t seed, int64_t height, int64_t width);
// One of each size.
Batch Pictures(int64_t seed, const std::vector<std::pair<int64_t, int64_t>>& sizes);

// The input of a golden case, as the program write_golden_inputs left it after the resize, so that
// this program needs no image library.
struct GoldenInput {
  Batch batch;
  PixelSize valid;     // of each input, the rest is padding
  PixelSize original;  // of each picture
};
GoldenInput ReadGoldenInput(const std::string& name);
// A segmentation's labels, from there too.
std::vector<uint8_t> ReadGoldenLabels(const std::string& name);

}  // namespace spatialmamba::gpu
