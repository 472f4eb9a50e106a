#pragma once

#include <cstdint>
#include <span>

#include "model/ops/aligned_buffer.h"

namespace spatialmamba {

// The weights of a linear layer y = x W^T, laid out once for the CPU kernels.
// Layout: panels of kPanel output columns, each [inputs, kPanel], the last padded with zeros. Every
// instruction set reads the same layout, so that weights need not be packed again when another is
// forced.
class PackedMatrix {
 public:
  static constexpr int64_t kPanel = 32;

  PackedMatrix() = default;
  // `weights` is row-major [outputs, inputs], as PyTorch stores a linear layer. Throws
  // std::invalid_argument if its size does not fit.
  PackedMatrix(std::span<const float> weights, int64_t outputs, int64_t inputs);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  const float* panel(int64_t i) const { return data_.data() + i * inputs_ * kPanel; }
  int64_t bytes() const { return data_.size() * static_cast<int64_t>(sizeof(float)); }

 private:
  int64_t outputs_ = 0;
  int64_t inputs_ = 0;
  AlignedBuffer data_;
};

}  // namespace spatialmamba
