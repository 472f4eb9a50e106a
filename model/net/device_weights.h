#pragma once

#include <span>
#include <vector>

#include "model/net/layers.h"
#include "model/ops/cuda_api.h"
#include "model/ops/depthwise_cuda.h"
#include "model/ops/device_batch.h"
#include "model/ops/gemm_cuda.h"

namespace spatialmamba {

// A linear layer or dense convolution in device memory.
struct DeviceLinear {
  const void* weights = nullptr;  // [outputs, stride]
  int inputs = 0;
  int outputs = 0;
  int stride = 0;
  const float* bias = nullptr;  // null: none

  // The product of x's rows with it, to be completed by the caller.
  DeviceGemm Gemm(const DeviceMap& x, const DeviceMap& out) const {
    DeviceGemm gemm;
    gemm.x = x;
    gemm.weights = weights;
    gemm.inputs = inputs;
    gemm.outputs = outputs;
    gemm.weight_stride = stride;
    gemm.bias = bias;
    gemm.out = out;
    return gemm;
  }
};

// Copies weights to the current device and owns them there.
class DeviceWeights {
 public:
  explicit DeviceWeights(DeviceType type) : type_(type) {}

  // Of the type of `this`, or another. The layer's matrix must be fp32; inputs are padded with
  // zeros to a multiple of 8 (a convolution's inputs must be one for each tap).
  DeviceLinear Linear(const LinearLayer& layer) { return Linear(layer, type_); }
  DeviceLinear Linear(const LinearLayer& layer, DeviceType type);
  // fp32, as they are.
  const float* Floats(std::span<const float> values);
  DeviceDepthwise Depthwise(const DepthwiseLayer& layer) {
    return {Floats(layer.taps), Floats(layer.bias)};
  }
  DeviceNorm Norm(const NormLayer& layer) { return {Floats(layer.gain), Floats(layer.bias)}; }

  DeviceType type() const { return type_; }
  size_t bytes() const { return bytes_; }

 private:
  void* Upload(const void* data, size_t bytes);

  DeviceType type_;
  size_t bytes_ = 0;
  std::vector<DeviceBuffer> buffers_;
};

// The matrix row by row, [outputs, inputs].
std::vector<float> Unpacked(const PackedMatrix& matrix);

}  // namespace spatialmamba
