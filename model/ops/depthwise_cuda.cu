#include "model/ops/depthwise_cuda.h"

#include <stdexcept>

#include "model/ops/strip.h"

namespace spatialmamba {
namespace {

// The threads of a block aimed at; more only where a norm needs all channels in one block.
constexpr int kBlockWarps = 8;
constexpr int kMostThreads = kMostResidualChannels / 2;

template <typename T, typename Normed = T>
struct DepthwiseParams {
  DeviceLevel from;  // of x
  DeviceLevel to;    // of out; its tiles are walked
  const T* x;
  int x_stride;
  const float* taps;
  const float* bias;
  const float* gain;
  const float* norm_bias;
  T* out;
  int out_stride;
  Normed* normed;
  int normed_stride;
  int channels;
  int warps;  // of a group
  int groups;
};

// A lane's two channels of the weights.
struct Taps {
  float2 tap[9];
  float2 bias;

  __device__ __forceinline__ Taps(const float* taps, const float* biases, int channel,
                                  int channels) {
#pragma unroll
    for (int i = 0; i < 9; ++i) tap[i] = LoadPair(taps + i * channels + channel);
    bias = LoadPair(biases + channel);
  }
};

// The pixels that a strip's convolution reads, zero outside the image. kStep: 1 or 2 pixels of x
// for each of the output.
template <int kStep, typename T>
struct Window {
  static constexpr int kColumns = kStep * (kStrip - 1) + 3;
  RawPair<T> pixel[3][kColumns];

  __device__ __forceinline__ Window(const T* x, int stride, const DeviceSpan& from,
                                    const Strip& strip) {
    const int left = strip.column * kStep - 1;
#pragma unroll
    for (int r = 0; r < 3; ++r) {
      const int row = strip.row * kStep + r - 1;
      const bool inside = row >= 0 && row < from.height;
      const T* at = x + (from.offset + static_cast<int64_t>(row) * from.width + left) * stride;
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        const bool there =
            inside && static_cast<unsigned>(left + i) < static_cast<unsigned>(from.width);
        pixel[r][i] = {};
        if (there) pixel[r][i] = LoadRaw(at + static_cast<int64_t>(stride) * i);
      }
    }
  }
};

template <int kStep, typename T>
__device__ __forceinline__ void Convolve(const Window<kStep, T>& window, const Taps& weights,
                                         float2 (&sums)[kStrip]) {
#pragma unroll
  for (int i = 0; i < kStrip; ++i) sums[i] = weights.bias;
#pragma unroll
  for (int r = 0; r < 3; ++r) {
#pragma unroll
    for (int i = 0; i < Window<kStep, T>::kColumns; ++i) {
      const float2 value = window.pixel[r][i].value();
#pragma unroll
      for (int tap = 0; tap < 3; ++tap) {
        if ((i - tap) % kStep != 0 || i < tap || (i - tap) / kStep >= kStrip) continue;
        MultiplyAdd(value, weights.tap[r * 3 + tap], sums[(i - tap) / kStep]);
      }
    }
  }
}

// out = x + conv(x), normed = LayerNorm(out). Grid: tiles. A block holds all channels.
template <typename T, typename Normed>
__global__ void __launch_bounds__(kMostThreads) ResidualNormKernel(DepthwiseParams<T, Normed> p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.x) >= p.to.counts[kTileCount]) return;
  const DeviceTile tile = p.to.tiles[blockIdx.x];
  const StripPlace place = PlaceInBlock(p.warps);
  const int channel = place.warp * kChannelsOfWarp + place.lane * 2;
  const bool active = channel < p.channels;  // other lanes only keep the sums company
  const int safe = active ? channel : 0;
  Taps weights(p.taps, p.bias, safe, p.channels);
  weights.tap[4].x += 1;  // x + conv(x) is a convolution too
  weights.tap[4].y += 1;
  const float2 gain = LoadPair(p.gain + safe);
  const float2 bias = LoadPair(p.norm_bias + safe);
  const int strips = p.to.tile_rows * (p.to.tile_columns / kStrip);
  for (int first = 0; first < strips; first += p.groups) {
    const Strip strip = StripOfTile(p.to, tile, first + place.group);
    float2 values[kStrip];
#pragma unroll
    for (int i = 0; i < kStrip; ++i) values[i] = make_float2(0, 0);
    if (active && strip.count > 0) {
      const Window<1, T> window(p.x + channel, p.x_stride, strip.span(), strip);
      Convolve(window, weights, values);
      T* out = p.out + strip.token() * p.out_stride + channel;
#pragma unroll
      for (int i = 0; i < kStrip; ++i) {
        if (i < strip.count) StorePair(values[i], out + static_cast<int64_t>(p.out_stride) * i);
      }
    }
    StripNorm(values, active, p.channels, place, p.warps, p.groups, SharedMemory<float>());
    if (!active) continue;
    Normed* normed = p.normed + strip.token() * p.normed_stride + channel;
#pragma unroll
    for (int i = 0; i < kStrip; ++i) {
      const float2 to =
          make_float2(fmaf(values[i].x, gain.x, bias.x), fmaf(values[i].y, gain.y, bias.y));
      if (i < strip.count) StorePair(to, normed + static_cast<int64_t>(p.normed_stride) * i);
    }
  }
}

template <Activation kActivation>
__device__ __forceinline__ float Activate(float x) {
  return kActivation == Activation::kRelu   ? Relu(x)
         : kActivation == Activation::kSilu ? Silu(x)
                                            : x;
}

// out = activation(conv(x)). Grid: tiles, pieces of the channels.
template <typename T, int kStep, Activation kActivation>
__global__ void __launch_bounds__(kBlockWarps * 32) DepthwiseKernel(DepthwiseParams<T> p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.x) >= p.to.counts[kTileCount]) return;
  const DeviceTile tile = p.to.tiles[blockIdx.x];
  const StripPlace place = PlaceInBlock(p.warps);
  const int warp = static_cast<int>(blockIdx.y) * p.warps + place.warp;
  const int channel = warp * kChannelsOfWarp + place.lane * 2;
  if (channel >= p.channels) return;
  const Taps weights(p.taps, p.bias, channel, p.channels);
  const DeviceSpan from = p.from.spans[tile.image];
  const int strips = p.to.tile_rows * (p.to.tile_columns / kStrip);
  for (int index = place.group; index < strips; index += p.groups) {
    const Strip strip = StripOfTile(p.to, tile, index);
    if (strip.count == 0) continue;
    const Window<kStep, T> window(p.x + channel, p.x_stride, from, strip);
    float2 sums[kStrip];
    Convolve(window, weights, sums);
    T* out = p.out + strip.token() * p.out_stride + channel;
#pragma unroll
    for (int i = 0; i < kStrip; ++i) {
      const float2 to =
          make_float2(Activate<kActivation>(sums[i].x), Activate<kActivation>(sums[i].y));
      if (i < strip.count) StorePair(to, out + static_cast<int64_t>(p.out_stride) * i);
    }
  }
}

void Check(const DeviceMap& x, const DeviceMap& out) {
  if (x.type != out.type || x.channels != out.channels) {
    throw std::invalid_argument("depthwise: out must have the type and channels of x");
  }
  if (x.channels < 2 || x.channels % 2 != 0) {
    throw std::invalid_argument("depthwise: the number of channels must be even");
  }
}

template <typename T, typename Normed = T>
DepthwiseParams<T, Normed> MakeParams(const DeviceMap& x, const DeviceLevel& from,
                                      const DeviceLevel& to, const DeviceDepthwise& weights,
                                      const DeviceMap& out) {
  DepthwiseParams<T, Normed> p = {};
  p.from = from;
  p.to = to;
  p.x = static_cast<const T*>(x.data);
  p.x_stride = x.stride;
  p.taps = weights.taps;
  p.bias = weights.bias;
  p.out = static_cast<T*>(out.data);
  p.out_stride = out.stride;
  p.channels = x.channels;
  return p;
}

template <typename T, typename Normed>
void LaunchResidualNorm(const DeviceMap& x, const DeviceLevel& level,
                        const DeviceDepthwise& weights, const DeviceNorm& norm,
                        const DeviceMap& out, const DeviceMap& normed, CUstream_st* stream) {
  DepthwiseParams<T, Normed> p = MakeParams<T, Normed>(x, level, level, weights, out);
  p.gain = norm.gain;
  p.norm_bias = norm.bias;
  p.normed = static_cast<Normed*>(normed.data);
  p.normed_stride = normed.stride;
  p.warps = WarpsOfChannels(p.channels);
  p.groups = GroupsOfStrips(p.warps, kBlockWarps, level);
  const StripBlock block{p.warps, p.groups};
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(level.tile_count));
  config.block = dim3(static_cast<unsigned>(block.threads()));
  config.shared_bytes = StripNormBytes(block);
  config.stream = stream;
  Launch("depthwise_residual_norm", &ResidualNormKernel<T, Normed>, config, p);
}

template <typename T, int kStep, Activation kActivation>
void LaunchDepthwise(DepthwiseParams<T> p, CUstream_st* stream) {
  const int warps = WarpsOfChannels(p.channels);
  p.warps = min(warps, kBlockWarps / 2);
  p.groups = GroupsOfStrips(p.warps, kBlockWarps, p.to);
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(p.to.tile_count),
                     static_cast<unsigned>((warps + p.warps - 1) / p.warps));
  config.block = dim3(static_cast<unsigned>(StripBlock{p.warps, p.groups}.threads()));
  config.stream = stream;
  Launch("depthwise", &DepthwiseKernel<T, kStep, kActivation>, config, p);
}

template <typename T>
void LaunchDepthwise(const DepthwiseParams<T>& p, Activation activation, CUstream_st* stream) {
  switch (activation) {
    case Activation::kNone:
      return LaunchDepthwise<T, 1, Activation::kNone>(p, stream);
    case Activation::kRelu:
      return LaunchDepthwise<T, 1, Activation::kRelu>(p, stream);
    case Activation::kSilu:
      return LaunchDepthwise<T, 1, Activation::kSilu>(p, stream);
    case Activation::kGelu:
      break;
  }
  throw std::invalid_argument("depthwise: no such activation");
}

}  // namespace

void DepthwiseResidualNormCuda(const DeviceMap& x, const DeviceLevel& level,
                               const DeviceDepthwise& weights, const DeviceNorm& norm,
                               const DeviceMap& out, const DeviceMap& normed, CUstream_st* stream) {
  Check(x, out);
  if (x.type != DeviceType::kFloat32 || normed.channels != x.channels) {
    throw std::invalid_argument("depthwise: x must be fp32 and have as many channels as normed");
  }
  if (x.channels > kMostResidualChannels) {
    throw std::invalid_argument("depthwise: too many channels for a norm");
  }
  if (normed.type == DeviceType::kFloat32) {
    LaunchResidualNorm<float, float>(x, level, weights, norm, out, normed, stream);
  } else {
    LaunchResidualNorm<float, __nv_bfloat16>(x, level, weights, norm, out, normed, stream);
  }
}

void DepthwiseCuda(const DeviceMap& x, const DeviceLevel& level, const DeviceDepthwise& weights,
                   Activation activation, const DeviceMap& out, CUstream_st* stream) {
  Check(x, out);
  if (x.type == DeviceType::kFloat32) {
    LaunchDepthwise(MakeParams<float>(x, level, level, weights, out), activation, stream);
  } else {
    LaunchDepthwise(MakeParams<__nv_bfloat16>(x, level, level, weights, out), activation, stream);
  }
}

void DepthwiseStride2Cuda(const DeviceMap& x, const DeviceLevel& from, const DeviceLevel& to,
                          const DeviceDepthwise& weights, const DeviceMap& out,
                          CUstream_st* stream) {
  Check(x, out);
  if (x.type == DeviceType::kFloat32) {
    LaunchDepthwise<float, 2, Activation::kRelu>(MakeParams<float>(x, from, to, weights, out),
                                                 stream);
  } else {
    LaunchDepthwise<__nv_bfloat16, 2, Activation::kRelu>(
        MakeParams<__nv_bfloat16>(x, from, to, weights, out), stream);
  }
}

}  // namespace spatialmamba
