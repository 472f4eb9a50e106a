#pragma once

namespace spatialmamba {

// Gain and bias of a LayerNorm, [channels] each. Not owned.
struct NormWeights {
  const float* gain = nullptr;
  const float* bias = nullptr;
  float epsilon = 1e-5F;
};

}  // namespace spatialmamba
