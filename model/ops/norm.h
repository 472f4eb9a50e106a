#pragma once

namespace spatialmamba {

// Gain and bias of a LayerNorm, [channels] each. Not owned.
// Of a LayerNorm, for one value: its part of the mean, of the variance, and two for the result.
inline constexpr int64_t kNormMultiplyAdds = 4;

struct NormWeights {
  const float* gain = nullptr;
  const float* bias = nullptr;
  float epsilon = 1e-5F;
};

}  // namespace spatialmamba
