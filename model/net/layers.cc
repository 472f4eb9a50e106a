#include "model/net/layers.h"

#include <algorithm>
#include <cmath>

#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

constexpr double kBatchNormEpsilon = 1e-5;

// Scale and shift per output channel that a BatchNorm in evaluation mode comes to.
struct Affine {
  std::vector<double> scale;
  std::vector<double> shift;
};

Affine FoldedBatchNorm(const BoundTensors& tensors, const std::string& key) {
  const std::vector<float>& gain = tensors.at(key + ".weight");
  const std::vector<float>& bias = tensors.at(key + ".bias");
  const std::vector<float>& mean = tensors.at(key + ".running_mean");
  const std::vector<float>& variance = tensors.at(key + ".running_var");
  Affine affine;
  for (size_t i = 0; i < gain.size(); ++i) {
    const double scale = static_cast<double>(gain[i]) /
                         std::sqrt(static_cast<double>(variance[i]) + kBatchNormEpsilon);
    if (!std::isfinite(scale)) {
      throw CheckpointError("tensor " + key + ".running_var holds " + std::to_string(variance[i]) +
                            ", which is no variance: the file is damaged");
    }
    affine.scale.push_back(scale);
    affine.shift.push_back(static_cast<double>(bias[i]) - scale * static_cast<double>(mean[i]));
  }
  return affine;
}

// Convolution weights [outputs, inputs, 3, 3] or [outputs, inputs, 1, 1] with a BatchNorm folded
// in, as rows of [taps, inputs], the order in which patches are gathered.
LinearLayer FoldedConvolution(const BoundTensors& tensors, const std::string& key, int64_t outputs,
                              int64_t inputs, int64_t taps,
                              std::optional<MatrixType> type = std::nullopt) {
  const std::vector<float>& weight = tensors.at(key + ".conv.weight");
  const std::vector<float>* own_bias = tensors.Find(key + ".conv.bias");
  const Affine norm = FoldedBatchNorm(tensors, key + ".norm");
  std::vector<float> rows(weight.size());
  std::vector<float> bias(static_cast<size_t>(outputs));
  for (int64_t o = 0; o < outputs; ++o) {
    const auto out = static_cast<size_t>(o);
    const double scale = norm.scale[out];
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t t = 0; t < taps; ++t) {
        rows[static_cast<size_t>((o * taps + t) * inputs + i)] = static_cast<float>(
            scale * static_cast<double>(weight[static_cast<size_t>((o * inputs + i) * taps + t)]));
      }
    }
    const double own = own_bias == nullptr ? 0.0 : static_cast<double>((*own_bias)[out]);
    bias[out] = static_cast<float>(norm.shift[out] + scale * own);
  }
  return {PackedMatrix(rows, outputs, taps * inputs, type.value_or(tensors.matrices())),
          std::move(bias)};
}

// [rows, columns] -> [columns, rows].
std::vector<float> Transposed(const std::vector<float>& matrix, int64_t rows, int64_t columns) {
  std::vector<float> result(matrix.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      result[static_cast<size_t>(c * rows + r)] = matrix[static_cast<size_t>(r * columns + c)];
    }
  }
  return result;
}

DepthwiseLayer MakeDepthwise(const BoundTensors& tensors, const std::string& key,
                             int64_t channels) {
  return {Transposed(tensors.at(key + ".weight"), channels, 9), tensors.at(key + ".bias")};
}

// alpha[0] * kernel_3 + alpha[1] * kernel_3_1 + alpha[2] * kernel_3_2 as [25, channels], in the
// order of kFusionOffsets. The three centres fall together.
std::vector<float> MergedFusion(const BoundTensors& tensors, const std::string& key,
                                int64_t channels) {
  const std::vector<float>& alpha = tensors.at(key + ".alpha");
  const std::vector<float>* kernels[] = {&tensors.at(key + ".kernel_3"),
                                         &tensors.at(key + ".kernel_3_1"),
                                         &tensors.at(key + ".kernel_3_2")};
  std::vector<double> taps(static_cast<size_t>(25 * channels));
  for (size_t k = 0; k < 3; ++k) {
    for (int64_t tap = 0; tap < 9; ++tap) {
      // Without the centre, the eight neighbours of each kernel keep their order.
      const int64_t to = tap == 4 ? 0 : 1 + static_cast<int64_t>(k) * 8 + (tap < 4 ? tap : tap - 1);
      for (int64_t c = 0; c < channels; ++c) {
        taps[static_cast<size_t>(to * channels + c)] +=
            static_cast<double>(alpha[k]) *
            static_cast<double>((*kernels[k])[static_cast<size_t>(c * 9 + tap)]);
      }
    }
  }
  return {taps.begin(), taps.end()};
}

SsmLayer MakeSsm(const BoundTensors& tensors, const std::string& key, int64_t dim) {
  const int64_t inner = 2 * dim;
  const int64_t rank = StepRank(dim);
  SsmLayer ssm;
  ssm.in_proj = MakeLinear(tensors, key + ".in_proj.weight", "", 2 * inner, dim);
  ssm.conv = MakeDepthwise(tensors, key + ".conv2d", inner);
  ssm.x_proj =
      MakeLinear(tensors, key + ".x_proj_weight", "", rank + 2, inner, MatrixType::kFloat32);
  ssm.rank = rank;
  ssm.step_weight = Transposed(tensors.at(key + ".dt_projs_weight"), inner, rank);
  ssm.step_bias = tensors.at(key + ".dt_projs_bias");
  for (const float log_a : tensors.at(key + ".A_logs")) {
    ssm.decay.push_back(static_cast<float>(-std::exp(static_cast<double>(log_a))));
  }
  ssm.fusion_taps = MergedFusion(tensors, key + ".state_fusion", inner);
  ssm.skip = tensors.at(key + ".Ds");
  ssm.out_norm = MakeNorm(tensors, key + ".out_norm");
  ssm.out_proj = MakeLinear(tensors, key + ".out_proj.weight", "", dim, inner);
  return ssm;
}

}  // namespace

LinearLayer MakeLinear(const BoundTensors& tensors, const std::string& weight,
                       const std::string& bias, int64_t outputs, int64_t inputs,
                       std::optional<MatrixType> type) {
  return {PackedMatrix(tensors.at(weight), outputs, inputs, type.value_or(tensors.matrices())),
          bias.empty() ? std::vector<float>() : tensors.at(bias)};
}

LinearLayer MakeConvolution(const BoundTensors& tensors, const std::string& key, int64_t outputs,
                            int64_t inputs) {
  const std::vector<float>& weight = tensors.at(key + ".weight");
  std::vector<float> rows(weight.size());
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t t = 0; t < 9; ++t) {
        rows[static_cast<size_t>((o * 9 + t) * inputs + i)] =
            weight[static_cast<size_t>((o * inputs + i) * 9 + t)];
      }
    }
  }
  return {PackedMatrix(rows, outputs, 9 * inputs, tensors.matrices()), tensors.at(key + ".bias")};
}

NormLayer MakeNorm(const BoundTensors& tensors, const std::string& key) {
  return {tensors.at(key + ".weight"), tensors.at(key + ".bias")};
}

StemLayer MakeStem(const BoundTensors& tensors, const std::string& key, int64_t dim) {
  const int64_t half = dim / 2;
  return {FoldedConvolution(tensors, key + ".conv1", half, 3, 9, MatrixType::kFloat32),
          FoldedConvolution(tensors, key + ".conv2.0", half, half, 9),
          FoldedConvolution(tensors, key + ".conv2.1", half, half, 9),
          FoldedConvolution(tensors, key + ".conv3.0", 4 * dim, half, 9),
          FoldedConvolution(tensors, key + ".conv3.1", dim, 4 * dim, 1)};
}

BlockLayer MakeBlock(const BoundTensors& tensors, const std::string& key, int64_t dim) {
  return {MakeDepthwise(tensors, key + ".cpe1", dim),
          MakeNorm(tensors, key + ".ln_1"),
          MakeSsm(tensors, key + ".self_attention", dim),
          MakeDepthwise(tensors, key + ".cpe2", dim),
          MakeNorm(tensors, key + ".ln_2"),
          MakeLinear(tensors, key + ".mlp.fc1.weight", key + ".mlp.fc1.bias", 4 * dim, dim),
          MakeLinear(tensors, key + ".mlp.fc2.weight", key + ".mlp.fc2.bias", dim, 4 * dim)};
}

DownSamplingLayer MakeDownSampling(const BoundTensors& tensors, const std::string& key,
                                   int64_t dim) {
  return {MakeLinear(tensors, key + ".conv.0.conv.weight", key + ".conv.0.conv.bias", 8 * dim, dim),
          MakeDepthwise(tensors, key + ".conv.1.conv", 8 * dim),
          FoldedConvolution(tensors, key + ".conv.2", 2 * dim, 8 * dim, 1)};
}

void CheckFinite(const BoundTensors& tensors) {
  std::string found;
  for (const auto& [key, values] : tensors.values()) {
    if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
      found += (found.empty() ? "" : ", ") + key;
    }
  }
  if (!found.empty()) {
    throw CheckpointError(
        "these tensors hold a NaN or an infinity, the file is damaged or its training diverged: " +
        found);
  }
}

}  // namespace spatialmamba
