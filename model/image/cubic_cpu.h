#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spatialmamba {

// Weights of the bicubic kernels have so many bits behind the point.
inline constexpr int kCubicBits = 22;

// The sources of one output along one axis: indices first, first + 1, ... with these weights.
struct CubicTaps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// A row of RGB pixels resampled: pixel i of `result` from the pixels of `source` that columns[i]
// names. `readable`: bytes of source. The sums are exact, so every instruction set gives the same
// bytes.
void CubicColumnsCpu(const uint8_t* source, int64_t readable, std::span<const CubicTaps> columns,
                     uint8_t* result);

// A row of `count` bytes blended of as many rows as there are weights.
void CubicRowsCpu(std::span<const uint8_t* const> rows, std::span<const int32_t> weights,
                  int64_t count, uint8_t* result);

}  // namespace spatialmamba
