#include "model/ops/stem_cuda.h"

#include <stdexcept>

#include "model/ops/kernel_math.h"

namespace spatialmamba {
namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 8;  // of a thread

template <typename T>
struct StemParams {
  DeviceLevel from;
  DeviceLevel to;
  const float* x;
  const float* weights;
  const float* bias;
  T* out;
  int out_stride;
  int channels;
};

__device__ __forceinline__ void Store(const float (&values)[kChannels], float* to) {
#pragma unroll
  for (int i = 0; i < kChannels; i += 4) {
    *reinterpret_cast<float4*>(to + i) =
        make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]);
  }
}
__device__ __forceinline__ void Store(const float (&values)[kChannels], __nv_bfloat16* to) {
  __nv_bfloat162 pairs[kChannels / 2];
#pragma unroll
  for (int i = 0; i < kChannels / 2; ++i) {
    pairs[i] = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
  }
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(pairs);
}

// A thread computes kChannels channels of one pixel. Grid: one thread each, the pieces of a pixel
// side by side.
template <typename T>
__global__ void __launch_bounds__(kThreads) StemKernel(StemParams<T> p) {
  WaitForPreviousKernel();
  const int pieces = p.channels / kChannels;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const auto token = static_cast<int>(index / pieces);
  if (token >= p.to.counts[kTokenCount]) return;
  const int channel = static_cast<int>(index % pieces) * kChannels;
  const int image = ImageOfToken(p.to.spans, p.to.counts[kImageCount], token);
  const DeviceSpan to = p.to.spans[image];
  const DeviceSpan from = p.from.spans[image];
  const int row = (token - to.offset) / to.width;
  const int column = (token - to.offset) % to.width;
  float sums[kChannels];
#pragma unroll
  for (int i = 0; i < kChannels; ++i) sums[i] = p.bias[channel + i];
#pragma unroll
  for (int tap = 0; tap < 9; ++tap) {
    const int y = 2 * row + tap / 3 - 1;
    const int x = 2 * column + tap % 3 - 1;
    if (y < 0 || y >= from.height || x < 0 || x >= from.width) continue;
    const float* pixel = p.x + (from.offset + static_cast<int64_t>(y) * from.width + x) * 3;
#pragma unroll
    for (int colour = 0; colour < 3; ++colour) {
      const float value = pixel[colour];
      const float* weights = p.weights + (tap * 3 + colour) * p.channels + channel;
#pragma unroll
      for (int i = 0; i < kChannels; ++i) sums[i] = fmaf(value, weights[i], sums[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kChannels; ++i) sums[i] = Relu(sums[i]);
  Store(sums, p.out + static_cast<int64_t>(token) * p.out_stride + channel);
}

template <typename T>
void LaunchStem(const float* x, const DeviceLevel& from, const DeviceLevel& to,
                const float* weights, const float* bias, const DeviceMap& out,
                CUstream_st* stream) {
  StemParams<T> p;
  p.from = from;
  p.to = to;
  p.x = x;
  p.weights = weights;
  p.bias = bias;
  p.out = static_cast<T*>(out.data);
  p.out_stride = out.stride;
  p.channels = out.channels;
  const int64_t threads = static_cast<int64_t>(to.tokens) * (out.channels / kChannels);
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads));
  config.block = dim3(kThreads);
  config.stream = stream;
  Launch("stem_convolution", &StemKernel<T>, config, p);
}

}  // namespace

void StemConvCuda(const float* x, const DeviceLevel& from, const DeviceLevel& to,
                  const float* weights, const float* bias, const DeviceMap& out,
                  CUstream_st* stream) {
  if (out.channels < kChannels || out.channels % kChannels != 0) {
    throw std::invalid_argument("stem: the channels must be a multiple of 8");
  }
  if (out.type == DeviceType::kFloat32) {
    LaunchStem<float>(x, from, to, weights, bias, out, stream);
  } else {
    LaunchStem<__nv_bfloat16>(x, from, to, weights, bias, out, stream);
  }
}

}  // namespace spatialmamba
