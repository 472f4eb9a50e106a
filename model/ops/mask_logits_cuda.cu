#include "model/ops/mask_logits_cuda.h"

#include <stdexcept>

#include "model/ops/box_math.h"
#include "model/ops/eight_channels.h"

namespace spatialmamba {
namespace {

constexpr int kThreads = 256;

template <typename T>
struct MaskLogitsParams {
  const T* doubled;
  int stride;
  int channels;
  int side;
  const float* class_weights;
  const float* class_bias;
  const int* labels;  // of the piece's first box, as below
  const int* count;
  float* out;
};

// Grid: boxes. A warp for each pixel and its four.
template <typename T>
__global__ void __launch_bounds__(kThreads) MaskLogitsKernel(MaskLogitsParams<T> p) {
  WaitForPreviousKernel();
  const int roi = static_cast<int>(blockIdx.x);
  if (roi >= *p.count) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int pixels = p.side * p.side;
  const int label = p.labels[roi];
  const float* weights = p.class_weights + static_cast<int64_t>(label) * p.channels;
  const float bias = p.class_bias[label];
  float* out = p.out + static_cast<int64_t>(roi) * 4 * pixels;
  for (int i = static_cast<int>(threadIdx.x / 32); i < pixels; i += kThreads / 32) {
    const T* pixel = p.doubled + (static_cast<int64_t>(roi) * pixels + i) * p.stride;
    float sums[4] = {};
    for (int channel = lane * kEight; channel < p.channels; channel += 32 * kEight) {
      float weight[kEight];
      LoadEight(weights + channel, weight);
#pragma unroll
      for (int quarter = 0; quarter < 4; ++quarter) {
        float v[kEight];
        LoadEight(pixel + quarter * p.channels + channel, v);
#pragma unroll
        for (int c = 0; c < kEight; ++c) sums[quarter] = fmaf(v[c], weight[c], sums[quarter]);
      }
    }
    float own = 0;
#pragma unroll
    for (int quarter = 0; quarter < 4; ++quarter) {
      const float sum = WarpSum(sums[quarter]);
      if (lane == quarter) own = sum;
    }
    if (lane >= 4) continue;
    const int row = i / p.side * 2 + lane / 2;
    const int column = i % p.side * 2 + lane % 2;
    out[row * 2 * p.side + column] = Sigmoid(own + bias);
  }
}

template <typename T>
void LaunchMaskLogits(const DeviceMaskLogits& m, CUstream_st* stream) {
  const int first = m.piece * m.rois.piece_capacity;
  const MaskLogitsParams<T> params{static_cast<const T*>(m.doubled.data),
                                   m.doubled.stride,
                                   m.doubled.channels / 4,
                                   m.side,
                                   m.class_weights,
                                   m.class_bias,
                                   m.rois.labels + first,
                                   m.rois.counts_of(m.piece) + kImageCount,
                                   m.out + static_cast<int64_t>(first) * 4 * m.side * m.side};
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(m.rois.piece_capacity));
  config.block = dim3(kThreads);
  config.stream = stream;
  Launch("mask_logits", &MaskLogitsKernel<T>, config, params);
}

}  // namespace

void MaskLogitsCuda(const DeviceMaskLogits& mask_logits, CUstream_st* stream) {
  if (mask_logits.doubled.channels % (4 * kEight) != 0 || mask_logits.rois.labels == nullptr ||
      mask_logits.piece < 0 || mask_logits.piece >= mask_logits.rois.pieces()) {
    throw std::invalid_argument(
        "MaskLogitsCuda: channels are no multiple of 8, or there is no such piece or no label");
  }
  if (mask_logits.doubled.type == DeviceType::kFloat32) {
    LaunchMaskLogits<float>(mask_logits, stream);
  } else {
    LaunchMaskLogits<__nv_bfloat16>(mask_logits, stream);
  }
}

}  // namespace spatialmamba
