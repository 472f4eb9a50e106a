#pragma once

#include <cstdint>
#include <span>

#include "model/ops/aligned_buffer.h"
#include "model/ops/matrix_type.h"

namespace spatialmamba {

// The weights of a linear layer y = x W^T, laid out once for the CPU kernels.
// Layout: panels of kPanel output columns, the last padded with zeros; each [inputs, kPanel] fp32,
// or [ceil(inputs / 2), kPanel] pairs of bf16. Every instruction set reads the same layout, so that
// weights need not be packed again when another is forced.
class PackedMatrix {
 public:
  static constexpr int64_t kPanel = 32;

  PackedMatrix() = default;
  // `weights` is row-major [outputs, inputs], as PyTorch stores a linear layer. Rounded to nearest
  // even where `type` is bf16, and to its largest number where that would give an infinity. Throws
  // std::invalid_argument if its size does not fit.
  PackedMatrix(std::span<const float> weights, int64_t outputs, int64_t inputs,
               MatrixType type = MatrixType::kFloat32);

  MatrixType type() const { return type_; }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  // Of an fp32 matrix.
  const float* panel(int64_t i) const { return values_.data() + i * inputs_ * kPanel; }
  // Of a bf16 matrix: inputs 2 k (low half) and 2 k + 1 (high half; 0 past the last) of a column.
  const uint32_t* pairs(int64_t i) const {
    return pairs_.data() + i * ((inputs_ + 1) / 2) * kPanel;
  }
  int64_t bytes() const { return values_.bytes() + pairs_.bytes(); }

 private:
  MatrixType type_ = MatrixType::kFloat32;
  int64_t outputs_ = 0;
  int64_t inputs_ = 0;
  AlignedArray<float> values_;
  AlignedArray<uint32_t> pairs_;
};

}  // namespace spatialmamba
