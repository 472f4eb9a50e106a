#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "model/ops/box.h"

namespace spatialmamba {

struct NmsOptions {
  // A box goes if its overlap (intersection over union) with a better one is strictly larger.
  double overlap = 0.5;
  int64_t limit = std::numeric_limits<int64_t>::max();  // at most so many survivors
};

// Greedy non-maximum suppression: the indices of the survivors, best score first. Of equal scores
// the lower index is the better. Boxes of different groups (0 and up) do not suppress one another.
//
// As in the published detectors (mmcv's batched_nms), overlaps are taken on float32 boxes that are
// shifted by group * (largest coordinate + 1), whose last bits the shift rounds away. An empty box
// overlaps nothing. Coordinates must not be negative, as after clipping: then no two groups touch.
// Throws std::invalid_argument for a negative coordinate, a negative group, a score that is not a
// number, or sizes that differ.
std::vector<int64_t> Nms(std::span<const Box> boxes, std::span<const float> scores,
                         std::span<const int64_t> groups, const NmsOptions& options);

}  // namespace spatialmamba
