#include "model/net/conv_unit.h"

#include <cmath>

#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

constexpr double kBatchNormEpsilon = 1e-5;

float WeightAt(const ConvUnit& unit, int64_t output, int64_t input, int64_t tap) {
  return unit.weight[static_cast<size_t>((output * unit.inputs + input) * unit.taps + tap)];
}

}  // namespace

ConvUnit FoldConvUnit(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                      int64_t taps) {
  const std::vector<float>& gain = tensors.at(key + ".bn.weight");
  const std::vector<float>& shift = tensors.at(key + ".bn.bias");
  const std::vector<float>& mean = tensors.at(key + ".bn.running_mean");
  const std::vector<float>& variance = tensors.at(key + ".bn.running_var");
  ConvUnit unit{.weight = tensors.at(key + ".conv.weight"),
                .inputs = inputs,
                .taps = taps,
                .matrices = tensors.matrices()};
  auto weight = unit.weight.begin();
  for (size_t o = 0; o < gain.size(); ++o) {
    const double scale = static_cast<double>(gain[o]) /
                         std::sqrt(static_cast<double>(variance[o]) + kBatchNormEpsilon);
    if (!std::isfinite(scale)) {
      throw CheckpointError("tensor " + key + ".bn.running_var holds " +
                            std::to_string(variance[o]) +
                            ", which is no variance: the file is damaged");
    }
    for (int64_t i = 0; i < inputs * taps; ++i, ++weight) {
      *weight = static_cast<float>(scale * static_cast<double>(*weight));
    }
    unit.bias.push_back(
        static_cast<float>(static_cast<double>(shift[o]) - scale * static_cast<double>(mean[o])));
  }
  return unit;
}

LinearLayer PackConvolution(const ConvUnit& unit, const InputRange& inputs) {
  std::vector<float> rows;
  rows.reserve(static_cast<size_t>(unit.outputs() * unit.taps * inputs.count));
  for (int64_t o = 0; o < unit.outputs(); ++o) {
    for (int64_t tap = 0; tap < unit.taps; ++tap) {
      for (int64_t i = 0; i < inputs.count; ++i) {
        rows.push_back(WeightAt(unit, o, inputs.first + i, tap));
      }
    }
  }
  return {PackedMatrix(rows, unit.outputs(), unit.taps * inputs.count, unit.matrices), unit.bias};
}

PackedMatrix PackTaps(const ConvUnit& unit, const InputRange& inputs, int64_t first,
                      int64_t count) {
  std::vector<float> rows;
  rows.reserve(static_cast<size_t>(unit.taps * count * inputs.count));
  for (int64_t tap = 0; tap < unit.taps; ++tap) {
    for (int64_t o = first; o < first + count; ++o) {
      for (int64_t i = 0; i < inputs.count; ++i) {
        rows.push_back(WeightAt(unit, o, inputs.first + i, tap));
      }
    }
  }
  return {rows, unit.taps * count, inputs.count, unit.matrices};
}

LinearLayer MakeConvUnit(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                         int64_t taps) {
  return PackConvolution(FoldConvUnit(tensors, key, inputs, taps), {0, inputs});
}

}  // namespace spatialmamba
