#pragma once

#include <cstdint>

namespace spatialmamba {

// Shifted boxes, those of a group next to one another and best first. All arrays have `count`
// entries unless they say otherwise.
struct NmsParams {
  const float* left = nullptr;
  const float* top = nullptr;
  const float* right = nullptr;
  const float* bottom = nullptr;
  int64_t count = 0;
  const int64_t* order = nullptr;      // positions of the boxes by falling score over all groups
  const int64_t* group_end = nullptr;  // one past the position of the last box of the box's group
  double overlap = 0;
  int64_t limit = 0;
  uint8_t* suppressed = nullptr;  // zero at the start
  int64_t* kept = nullptr;  // positions of the survivors, best first; at most min(count, limit)
};

// How many are kept.
int64_t NmsCpu(const NmsParams& params);

}  // namespace spatialmamba
