#pragma once

#include <cstdint>

namespace spatialmamba {

struct ClassConfidenceParams {
  const float* logits = nullptr;  // [.., classes], tokens at their stride
  int64_t stride = 0;
  int64_t classes = 0;
  uint8_t* confidence = nullptr;
};

// Tokens [first, last).
void ClassConfidenceCpu(const ClassConfidenceParams& params, int64_t first, int64_t last);

}  // namespace spatialmamba
