#pragma once

#include "model/ops/device_batch.h"
#include "model/ops/epilogue.h"

struct CUstream_st;

namespace spatialmamba {

// Weights of a depthwise 3x3 convolution in device memory: taps [9, channels] (3 * row + column),
// bias [channels].
struct DeviceDepthwise {
  const float* taps = nullptr;
  const float* bias = nullptr;
};

// Gain and bias of a LayerNorm in device memory, [channels] each; epsilon is 1e-5.
struct DeviceNorm {
  const float* gain = nullptr;
  const float* bias = nullptr;
};

// The most channels of DepthwiseResidualNormCuda, which holds all of a pixel in one block.
constexpr int kMostResidualChannels = 1024;

// depthwise.h on a GPU: depthwise 3x3 convolutions of ragged maps with zero padding of one. Maps
// have one type, but where said, and an even number of channels; out must not overlap x. Throw
// std::invalid_argument if they do not fit, std::runtime_error if CUDA refuses the launch.

// out = x + conv(x) + bias, normed = LayerNorm(out), at most kMostResidualChannels channels. x and
// out, the stream that a network adds to block after block, are fp32; normed has any type.
void DepthwiseResidualNormCuda(const DeviceMap& x, const DeviceLevel& level,
                               const DeviceDepthwise& weights, const DeviceNorm& norm,
                               const DeviceMap& out, const DeviceMap& normed, CUstream_st* stream);

// out = activation(conv(x) + bias).
void DepthwiseCuda(const DeviceMap& x, const DeviceLevel& level, const DeviceDepthwise& weights,
                   Activation activation, const DeviceMap& out, CUstream_st* stream);

// out = relu(conv(x) + bias) at every second pixel of both axes; `to` is the level of half the
// size.
void DepthwiseStride2Cuda(const DeviceMap& x, const DeviceLevel& from, const DeviceLevel& to,
                          const DeviceDepthwise& weights, const DeviceMap& out,
                          CUstream_st* stream);

}  // namespace spatialmamba
