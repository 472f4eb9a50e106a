#include "model/net/device_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace spatialmamba {
namespace {

// To nearest, ties to even; the largest number where that would give an infinity, as on a CPU.
uint16_t ToBfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = bits + 0x7FFF + (bits >> 16 & 1);
  if ((rounded & 0x7F800000) == 0x7F800000 && std::isfinite(value)) {
    return static_cast<uint16_t>((bits >> 16 & 0x8000) | 0x7F7F);
  }
  return static_cast<uint16_t>(rounded >> 16);
}

}  // namespace

std::vector<float> Unpacked(const PackedMatrix& matrix) {
  if (matrix.type() != MatrixType::kFloat32) {
    throw std::invalid_argument("Unpacked: the matrix must be fp32");
  }
  const int64_t inputs = matrix.inputs();
  std::vector<float> rows(static_cast<size_t>(matrix.outputs() * inputs));
  for (int64_t o = 0; o < matrix.outputs(); ++o) {
    const float* panel = matrix.panel(o / PackedMatrix::kPanel) + o % PackedMatrix::kPanel;
    for (int64_t i = 0; i < inputs; ++i) {
      rows[static_cast<size_t>(o * inputs + i)] = panel[i * PackedMatrix::kPanel];
    }
  }
  return rows;
}

void* DeviceWeights::Upload(const void* data, size_t bytes) {
  DeviceBuffer& buffer = buffers_.emplace_back(bytes);
  CopyToDevice(buffer.data(), data, bytes, nullptr);
  bytes_ += bytes;
  return buffer.data();
}

const float* DeviceWeights::Floats(std::span<const float> values) {
  return static_cast<const float*>(Upload(values.data(), values.size_bytes()));
}

DeviceLinear DeviceWeights::Linear(const LinearLayer& layer, DeviceType type) {
  const std::vector<float> rows = Unpacked(layer.weights);
  const auto inputs = static_cast<size_t>(layer.weights.inputs());
  const auto outputs = static_cast<size_t>(layer.weights.outputs());
  const size_t stride = (inputs + 7) / 8 * 8;
  DeviceLinear linear;
  linear.inputs = static_cast<int>(stride);
  linear.outputs = static_cast<int>(outputs);
  linear.stride = static_cast<int>(stride);
  if (type == DeviceType::kFloat32) {
    std::vector<float> padded(outputs * stride);
    for (size_t o = 0; o < outputs; ++o) {
      std::copy_n(&rows[o * inputs], inputs, &padded[o * stride]);
    }
    linear.weights = Upload(padded.data(), padded.size() * sizeof(float));
  } else {
    std::vector<uint16_t> padded(outputs * stride);
    for (size_t o = 0; o < outputs; ++o) {
      std::transform(&rows[o * inputs], &rows[o * inputs] + inputs, &padded[o * stride],
                     ToBfloat16);
    }
    linear.weights = Upload(padded.data(), padded.size() * sizeof(uint16_t));
  }
  if (!layer.bias.empty()) linear.bias = Floats(layer.bias);
  return linear;
}

}  // namespace spatialmamba
