#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/ops/depthwise.h"
#include "model/ops/mlp.h"
#include "model/ops/norm.h"
#include "model/ops/packed_matrix.h"
#include "model/ops/scan.h"
#include "model/ops/state_fusion.h"

namespace spatialmamba {

// What Bind returns, row-major fp32 by key, and the type of the matrices to be made of it.
class BoundTensors {
 public:
  using Values = std::map<std::string, std::vector<float>>;

  // NOLINTNEXTLINE(google-explicit-constructor): these are what they stand for
  BoundTensors(Values values, MatrixType matrices = MatrixType::kFloat32)
      : values_(std::move(values)), matrices_(matrices) {}

  const std::vector<float>& at(const std::string& key) const { return values_.at(key); }
  // Null if there is none.
  const std::vector<float>* Find(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }
  const Values& values() const { return values_; }
  MatrixType matrices() const { return matrices_; }

 private:
  Values values_;
  MatrixType matrices_;
};

// Rank of the low-rank step projection: ceil(dim / 16).
inline int64_t StepRank(int64_t dim) { return (dim + 15) / 16; }

// The layers of the network in the form the kernels read. Everything that can be computed once is
// computed at load: BatchNorms folded into the convolution before them, the three fusion kernels
// merged, -exp(A_log).

struct LinearLayer {
  PackedMatrix weights;
  std::vector<float> bias;  // empty: none

  const float* bias_data() const { return bias.empty() ? nullptr : bias.data(); }
};

struct DepthwiseLayer {
  std::vector<float> taps;  // [9, channels]
  std::vector<float> bias;

  DepthwiseWeights view() const { return {taps.data(), bias.data()}; }
};

struct NormLayer {
  std::vector<float> gain;
  std::vector<float> bias;

  NormWeights view() const { return {gain.data(), bias.data()}; }
};

// The token mixer. Published keys below `self_attention`.
struct SsmLayer {
  LinearLayer in_proj;  // u, then z
  DepthwiseLayer conv;
  LinearLayer x_proj;  // r, B, C
  int64_t rank = 0;
  std::vector<float> step_weight;  // [rank, inner]
  std::vector<float> step_bias;
  std::vector<float> decay;
  std::vector<float> fusion_taps;  // [25, inner]
  std::vector<float> skip;
  NormLayer out_norm;
  LinearLayer out_proj;

  ScanWeights scan() const { return {rank, step_weight.data(), step_bias.data(), decay.data()}; }
  StateFusionWeights fusion() const { return {fusion_taps.data(), skip.data(), out_norm.view()}; }
};

struct BlockLayer {
  DepthwiseLayer cpe1;
  NormLayer norm1;
  SsmLayer ssm;
  DepthwiseLayer cpe2;
  NormLayer norm2;
  LinearLayer fc1;
  LinearLayer fc2;

  MlpWeights mlp() const { return {&fc1.weights, fc1.bias.data(), &fc2.weights, fc2.bias.data()}; }
};

struct StemLayer {
  LinearLayer conv1;
  LinearLayer conv2a;
  LinearLayer conv2b;
  LinearLayer conv3;
  LinearLayer project;
};

struct DownSamplingLayer {
  LinearLayer expand;
  DepthwiseLayer conv;
  LinearLayer project;
};

// Each reads the tensors below `key` ("layers.0.blocks.1"), which must be there with the shapes of
// tensor_list.h.
StemLayer MakeStem(const BoundTensors& tensors, const std::string& key, int64_t dim);
BlockLayer MakeBlock(const BoundTensors& tensors, const std::string& key, int64_t dim);
DownSamplingLayer MakeDownSampling(const BoundTensors& tensors, const std::string& key,
                                   int64_t dim);
NormLayer MakeNorm(const BoundTensors& tensors, const std::string& key);
// The type of the matrix is that of `tensors` where none is given; here and below.
LinearLayer MakeLinear(const BoundTensors& tensors, const std::string& weight,
                       const std::string& bias, int64_t outputs, int64_t inputs,
                       std::optional<MatrixType> type = std::nullopt);
// A 3x3 convolution with a bias and no norm, in the order that Conv3x3 reads.
LinearLayer MakeConvolution(const BoundTensors& tensors, const std::string& key, int64_t outputs,
                            int64_t inputs);

// Throws CheckpointError that names the tensors which hold a NaN or an infinity: they would turn
// every answer into NaN.
void CheckFinite(const BoundTensors& tensors);

}  // namespace spatialmamba
