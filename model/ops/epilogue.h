#pragma once

#include <cstdint>

namespace spatialmamba {

enum class Activation { kNone, kRelu, kSilu, kGelu };  // GELU is the exact erf form

// Of exp or erf for one value.
constexpr int64_t Evaluations(Activation activation) {
  return activation == Activation::kSilu || activation == Activation::kGelu ? 1 : 0;
}

// What a GEMM does with a sum before it leaves the cache: out = activation(sum + bias), or sum +
// bias + residual. No layer of the model has both an activation and a residual.
struct Epilogue {
  const float* bias = nullptr;  // [outputs]; null: none
  Activation activation = Activation::kNone;
  const float* residual =
      nullptr;  // row i of the output adds residual[i * residual_stride + column]; null: none
  int64_t residual_stride = 0;
};

}  // namespace spatialmamba
