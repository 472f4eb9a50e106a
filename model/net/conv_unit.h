#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/net/layers.h"

namespace spatialmamba {

// A convolution without a bias, followed by a BatchNorm in evaluation mode: together a convolution
// with a bias. Published keys conv.weight and bn below `key`.
struct ConvUnit {
  std::vector<float> weight;  // [outputs, inputs, taps]
  std::vector<float> bias;    // [outputs]
  int64_t inputs = 0;
  int64_t taps = 0;
  MatrixType matrices = MatrixType::kFloat32;

  int64_t outputs() const { return static_cast<int64_t>(bias.size()); }
};

// taps: 1 or 9. Throws CheckpointError if a variance is none.
ConvUnit FoldConvUnit(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                      int64_t taps);

// A part of a unit's inputs.
struct InputRange {
  int64_t first = 0;
  int64_t count = 0;
};

// The unit on those inputs alone, with the whole bias, in the order that Gemm (one tap) and Conv3x3
// read.
LinearLayer PackConvolution(const ConvUnit& unit, const InputRange& inputs);

// The products of all nine taps with those inputs, for the outputs [first, first + count): rows
// tap * count + output.
PackedMatrix PackTaps(const ConvUnit& unit, const InputRange& inputs, int64_t first, int64_t count);

// All of a unit, folded and packed.
LinearLayer MakeConvUnit(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                         int64_t taps);

}  // namespace spatialmamba
