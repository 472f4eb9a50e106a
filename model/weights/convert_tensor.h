#pragma once

#include <cstddef>
#include <span>

#include "model/weights/tensor.h"

namespace spatialmamba {

// Writes the tensor's values in row-major order as `dtype` to `out`, which holds exactly
// tensor.elements() of them and is aligned for them. Rounds to nearest even; a value beyond the
// range of a narrower type becomes infinite. The only file that calls LibTorch; it computes on the
// calling thread alone.
void ConvertTensor(const Tensor& tensor, DType dtype, std::span<std::byte> out);

// Whether all values are finite, as `dtype` in row-major order.
bool AllFinite(std::span<const std::byte> values, DType dtype);

}  // namespace spatialmamba
