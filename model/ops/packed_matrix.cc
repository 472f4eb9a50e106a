#include "model/ops/packed_matrix.h"

#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>

namespace spatialmamba {
namespace {

uint32_t RoundedToBfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return bits >> 16 | 0x40U;  // quiet, or its payload could be cut to zero
  const uint32_t rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  const bool overflows = std::isfinite(value) && (rounded & 0x7fffU) == 0x7f80U;
  return overflows ? rounded - 1 : rounded;
}

}  // namespace

PackedMatrix::PackedMatrix(std::span<const float> weights, int64_t outputs, int64_t inputs,
                           MatrixType type)
    : type_(type), outputs_(outputs), inputs_(inputs) {
  if (outputs < 1 || inputs < 1 || static_cast<int64_t>(weights.size()) != outputs * inputs) {
    throw std::invalid_argument("PackedMatrix: " + std::to_string(weights.size()) +
                                " weights for " + std::to_string(outputs) + " x " +
                                std::to_string(inputs));
  }
  const bool half = type == MatrixType::kBfloat16;
  const int64_t steps = half ? (inputs + 1) / 2 : inputs;
  const int64_t count = panels() * steps * kPanel;
  if (half) {
    pairs_ = AlignedArray<uint32_t>(count);
  } else {
    values_ = AlignedArray<float>(count);
  }
  for (int64_t n = 0; n < outputs; ++n) {
    const int64_t column = n / kPanel * steps * kPanel + n % kPanel;
    const float* row = weights.data() + n * inputs;
    for (int64_t k = 0; k < inputs; ++k) {
      if (half) {
        pairs_.data()[column + k / 2 * kPanel] |= RoundedToBfloat16(row[k]) << (k % 2 * 16);
      } else {
        values_.data()[column + k * kPanel] = row[k];
      }
    }
  }
}

}  // namespace spatialmamba
