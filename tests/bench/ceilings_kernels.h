#pragma once

#include <cstdint>

namespace spatialmamba {

// Loops that do one thing only, with the instruction set that the kernels use.

// Fp32 multiply-adds in registers; returns how many.
int64_t MultiplyAdds(int64_t rounds);
// exp of `count` values.
void Evaluate(const float* x, int64_t count, float* out);
// The sum of `count` values.
float Sum(const float* x, int64_t count);

}  // namespace spatialmamba
