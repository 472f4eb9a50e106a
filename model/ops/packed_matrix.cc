#include "model/ops/packed_matrix.h"

#include <stdexcept>
#include <string>

namespace spatialmamba {

PackedMatrix::PackedMatrix(std::span<const float> weights, int64_t outputs, int64_t inputs)
    : outputs_(outputs), inputs_(inputs) {
  if (outputs < 1 || inputs < 1 || static_cast<int64_t>(weights.size()) != outputs * inputs) {
    throw std::invalid_argument("PackedMatrix: " + std::to_string(weights.size()) +
                                " weights for " + std::to_string(outputs) + " x " +
                                std::to_string(inputs));
  }
  data_ = AlignedBuffer(panels() * inputs * kPanel);
  for (int64_t n = 0; n < outputs; ++n) {
    float* column = data_.data() + n / kPanel * inputs * kPanel + n % kPanel;
    const float* row = weights.data() + n * inputs;
    for (int64_t k = 0; k < inputs; ++k) column[k * kPanel] = row[k];
  }
}

}  // namespace spatialmamba
