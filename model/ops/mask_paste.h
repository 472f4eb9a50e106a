#pragma once

#include <cstdint>
#include <span>

#include "model/ops/box.h"
#include "model/ops/run_lengths.h"

namespace spatialmamba {

// A square map of probabilities stretched over a box.
struct BoxMask {
  std::span<const float> probabilities;  // row-major [side, side], in [0, 1]
  int64_t side = 0;
  Box box;  // in pixels of the picture
};

// The pixels of the picture at which the stretched map, taken at the pixel's centre and bilinear
// between the centres of its cells, is at least one half. Around the map it is zero; a box without
// width takes its middle column everywhere, one without height its middle row, as in mmdet.
//
// Runs come directly from the map, column by column: no picture-sized memory. Where a cell's four
// corners agree its pixels are not sampled. Throws std::invalid_argument if sizes do not fit or a
// coordinate is not finite.
RunLengths PasteMask(const BoxMask& mask, const PixelSize& picture);

}  // namespace spatialmamba
