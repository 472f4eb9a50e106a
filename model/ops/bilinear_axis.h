#pragma once

#include <cstdint>
#include <vector>

namespace spatialmamba {

// Where a bilinear resize reads along one axis: (1 - weight) x[low] + weight x[high].
struct BilinearSample {
  int64_t low = 0;
  int64_t high = 0;
  float weight = 0;
};

// For each of the `to` positions of an axis of `from` pixels: half-pixel centres, clamped edges, no
// antialiasing. Positions are rounded as PyTorch rounds them, in fp32: on long axes that moves
// them, and with them what is read, by more than the arithmetic does. Both sizes must be positive.
std::vector<BilinearSample> BilinearAxis(int64_t from, int64_t to);

}  // namespace spatialmamba
