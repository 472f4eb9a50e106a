#pragma once

#include <cstdint>

namespace spatialmamba {

// One image of `tokens` tokens in scan order; strides in elements. See scan.h for the mathematics.
struct ScanParams {
  int64_t tokens = 0;
  int64_t rank = 0;
  int64_t channels = 0;
  const float* x = nullptr;  // [tokens, channels]
  int64_t x_stride = 0;
  const float* rbc = nullptr;  // [tokens, rank + 2]: the low-rank step, B, C
  int64_t rbc_stride = 0;
  const float* step_weight = nullptr;  // [rank, channels]
  const float* step_bias = nullptr;    // [channels]
  const float* decay = nullptr;        // [channels]: -exp(A_log)
  const float* initial = nullptr;      // [channels]: the state before the first token; null: zero
  float* h = nullptr;                  // [tokens, channels]
  int64_t h_stride = 0;
};

// Channels [first, last).
void ScanCpu(const ScanParams& params, int64_t first, int64_t last);

}  // namespace spatialmamba
