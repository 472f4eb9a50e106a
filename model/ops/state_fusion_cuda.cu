#include "model/ops/state_fusion_cuda.h"

#include <stdexcept>

#include "model/ops/strip.h"

namespace spatialmamba {
namespace {

constexpr int kBlockWarps = 8;
constexpr int kObserveWarps = 4;  // a lane takes so many registers that more would not fit twice
constexpr int kReach = 5;
constexpr int kColumns = kStrip + 2 * kReach;  // of h that a strip reads

template <typename T>
struct ObserveParams {
  DeviceLevel level;
  const T* h;
  int h_stride;
  const float* c;
  int c_stride;
  const T* x;
  int x_stride;
  const float* taps;
  const float* skip;
  T* out;
  int out_stride;
  int channels;
  int warps;  // of a group
  int groups;
};

// What a strip reads of one row of h: columns from kReach - kDistance to the left of it on.
// `offset` are those of all kColumns in bytes, clamped to the image.
template <int kDistance, typename T>
struct RowWindow {
  static constexpr int kCount = kStrip + 2 * kDistance;
  RawPair<T> pixel[kCount];

  __device__ __forceinline__ RowWindow(const T* row, const unsigned (&offset)[kColumns]) {
    const char* bytes = reinterpret_cast<const char*>(row);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      pixel[i] = LoadRaw(reinterpret_cast<const T*>(bytes + offset[kReach - kDistance + i]));
    }
  }

  // Adds the three taps kDistance * {-1, 0, 1} columns from a pixel; they are `channels` apart.
  __device__ __forceinline__ void AddTo(float2 (&sums)[kStrip], const float* taps,
                                        int channels) const {
    float2 weight[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) weight[i] = LoadPair(taps + i * channels);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float2 value = pixel[i].value();
#pragma unroll
      for (int tap = 0; tap < 3; ++tap) {
        const int to = i - tap * kDistance;
        if (to >= 0 && to < kStrip) MultiplyAdd(value, weight[tap], sums[to]);
      }
    }
  }
};

// Adds the taps of a pixel's own row: the centre, and the left and right neighbours at all three
// distances.
template <typename T>
__device__ __forceinline__ void AddOwnRow(const RowWindow<kReach, T>& row, const float* taps,
                                          int channels, float2 (&sums)[kStrip]) {
  // By column offset + kReach, their places in kFusionOffsets.
  constexpr int kTap[2 * kReach + 1] = {20, -1, 12, -1, 4, 0, 5, -1, 13, -1, 21};
  float2 weight[2 * kReach + 1];
#pragma unroll
  for (int i = 0; i < 2 * kReach + 1; ++i) {
    if (kTap[i] >= 0) weight[i] = LoadPair(taps + kTap[i] * channels);
  }
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const float2 value = row.pixel[i].value();
#pragma unroll
    for (int to = 0; to < kStrip; ++to) {
      const int offset = i - to;
      if (offset < 0 || offset > 2 * kReach || kTap[offset] < 0) continue;
      MultiplyAdd(value, weight[offset], sums[to]);
    }
  }
}

// The fused states of a strip. The rows of h are loaded before those ahead of them are added.
template <typename T>
__device__ __forceinline__ void Fuse(const T* h, int stride, const Strip& strip, const float* taps,
                                     int channels, float2 (&sums)[kStrip]) {
  unsigned offset[kColumns];
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const int column = min(max(strip.column - kReach + i, 0), strip.width - 1);
    offset[i] = static_cast<unsigned>(column) * static_cast<unsigned>(stride * sizeof(T));
  }
  const auto row = [&](int away) {
    const int at = min(max(strip.row + away, 0), strip.height - 1);
    return h + (strip.offset + static_cast<int64_t>(at) * strip.width) * stride;
  };
  // In kFusionOffsets the rows above and below begin at 1 and 6 of each distance's eight.
  const RowWindow<kReach, T> own(row(0), offset);
  const RowWindow<1, T> above1(row(-1), offset);
  AddOwnRow(own, taps, channels, sums);
  const RowWindow<1, T> below1(row(1), offset);
  above1.AddTo(sums, taps + 1 * channels, channels);
  const RowWindow<3, T> above3(row(-3), offset);
  below1.AddTo(sums, taps + 6 * channels, channels);
  const RowWindow<3, T> below3(row(3), offset);
  above3.AddTo(sums, taps + 9 * channels, channels);
  const RowWindow<5, T> above5(row(-5), offset);
  below3.AddTo(sums, taps + 14 * channels, channels);
  const RowWindow<5, T> below5(row(5), offset);
  above5.AddTo(sums, taps + 17 * channels, channels);
  below5.AddTo(sums, taps + 22 * channels, channels);
}

// out = c * h' + skip * x. Grid: tiles, pieces of the channels.
template <typename T>
__global__ void __launch_bounds__(kObserveWarps * 32) ObserveKernel(ObserveParams<T> p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.x) >= p.level.counts[kTileCount]) return;
  const DeviceTile tile = p.level.tiles[blockIdx.x];
  const StripPlace place = PlaceInBlock(p.warps);
  const int warp = static_cast<int>(blockIdx.y) * p.warps + place.warp;
  const int channel = warp * kChannelsOfWarp + place.lane * 2;
  if (channel >= p.channels) return;
  const float2 skip = LoadPair(p.skip + channel);
  const int strips = p.level.tile_rows * (p.level.tile_columns / kStrip);
  for (int index = place.group; index < strips; index += p.groups) {
    const Strip strip = StripOfTile(p.level, tile, index);
    if (strip.count == 0) continue;
    const int64_t token = strip.token();
    float2 values[kStrip];
#pragma unroll
    for (int i = 0; i < kStrip; ++i) values[i] = make_float2(0, 0);
    Fuse(p.h + channel, p.h_stride, strip, p.taps + channel, p.channels, values);
    RawPair<T> x[kStrip];
    float c[kStrip];
#pragma unroll
    for (int i = 0; i < kStrip; ++i) {
      const int at = min(i, strip.count - 1);
      x[i] = LoadRaw(p.x + token * p.x_stride + channel + static_cast<int64_t>(p.x_stride) * at);
      c[i] = p.c[(token + at) * p.c_stride];
    }
    T* out = p.out + token * p.out_stride + channel;
#pragma unroll
    for (int i = 0; i < kStrip; ++i) {
      const float2 own = x[i].value();
      const float2 to = make_float2(fmaf(c[i], values[i].x, skip.x * own.x),
                                    fmaf(c[i], values[i].y, skip.y * own.y));
      if (i < strip.count) StorePair(to, out + static_cast<int64_t>(p.out_stride) * i);
    }
  }
}

template <typename T>
struct GateParams {
  const int* rows;
  T* y;
  int y_stride;
  const T* z;
  int z_stride;
  const float* gain;
  const float* bias;
  int channels;
};

// y = LayerNorm(y) * SiLU(z), one warp a row. A lane holds kPairs pairs of channels, 64 apart.
template <typename T, int kPairs>
__global__ void __launch_bounds__(kBlockWarps * 32, 1) GateKernel(GateParams<T> p) {
  WaitForPreviousKernel();
  const int row = static_cast<int>(blockIdx.x) * kBlockWarps + static_cast<int>(threadIdx.x / 32);
  if (row >= *p.rows) return;
  const int first = static_cast<int>(threadIdx.x % 32) * 2;
  T* y = p.y + static_cast<int64_t>(row) * p.y_stride + first;
  const T* z = p.z + static_cast<int64_t>(row) * p.z_stride + first;
  RawPair<T> raw[kPairs], gate[kPairs];
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    raw[i] = {};
    if (first + i * 64 < p.channels) raw[i] = LoadRaw(y + i * 64);
  }
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    if (first + i * 64 < p.channels) gate[i] = LoadRaw(z + i * 64);
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) sum += raw[i].value().x + raw[i].value().y;
  const float share = 1.0f / static_cast<float>(p.channels);
  const float mean = WarpSum(sum) * share;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    if (first + i * 64 >= p.channels) continue;
    const float first_of_pair = raw[i].value().x - mean;
    const float second_of_pair = raw[i].value().y - mean;
    squares += fmaf(first_of_pair, first_of_pair, second_of_pair * second_of_pair);
  }
  const float inverse = rsqrtf(WarpSum(squares) * share + 1e-5f);
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    if (first + i * 64 >= p.channels) continue;
    const float2 v = raw[i].value();
    const float2 s = gate[i].value();
    const float2 gain = LoadPair(p.gain + first + i * 64);
    const float2 bias = LoadPair(p.bias + first + i * 64);
    StorePair(make_float2(fmaf((v.x - mean) * inverse, gain.x, bias.x) * Silu(s.x),
                          fmaf((v.y - mean) * inverse, gain.y, bias.y) * Silu(s.y)),
              y + i * 64);
  }
}

constexpr int kMostPairs = 24;

template <typename T>
void LaunchObserve(const DeviceFusionInputs& inputs, const DeviceLevel& level,
                   const DeviceFusion& weights, const DeviceMap& out, CUstream_st* stream) {
  ObserveParams<T> p;
  p.level = level;
  p.h = static_cast<const T*>(inputs.h.data);
  p.h_stride = inputs.h.stride;
  p.c = static_cast<const float*>(inputs.c.data);
  p.c_stride = inputs.c.stride;
  p.x = static_cast<const T*>(inputs.x.data);
  p.x_stride = inputs.x.stride;
  p.taps = weights.taps;
  p.skip = weights.skip;
  p.out = static_cast<T*>(out.data);
  p.out_stride = out.stride;
  p.channels = out.channels;
  const int warps = WarpsOfChannels(p.channels);
  p.warps = min(warps, 2);
  p.groups = GroupsOfStrips(p.warps, kObserveWarps, level);
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(level.tile_count),
                     static_cast<unsigned>((warps + p.warps - 1) / p.warps));
  config.block = dim3(static_cast<unsigned>(StripBlock{p.warps, p.groups}.threads()));
  config.stream = stream;
  Launch("state_fusion", &ObserveKernel<T>, config, p);
}

template <typename T>
void LaunchGate(const DeviceMap& y, const DeviceMap& z, const DeviceLevel& level,
                const DeviceNorm& norm, CUstream_st* stream) {
  const GateParams<T> p = {level.counts + kTokenCount,
                           static_cast<T*>(y.data),
                           y.stride,
                           static_cast<const T*>(z.data),
                           z.stride,
                           norm.gain,
                           norm.bias,
                           y.channels};
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>((level.tokens + kBlockWarps - 1) / kBlockWarps));
  config.block = dim3(kBlockWarps * 32);
  config.stream = stream;
  const int pairs = (y.channels + 63) / 64;
  const auto kernel = pairs <= 2    ? &GateKernel<T, 2>
                      : pairs <= 4  ? &GateKernel<T, 4>
                      : pairs <= 8  ? &GateKernel<T, 8>
                      : pairs <= 16 ? &GateKernel<T, 16>
                                    : &GateKernel<T, kMostPairs>;
  Launch("norm_gate", kernel, config, p);
}

}  // namespace

void StateFusionCuda(const DeviceFusionInputs& inputs, const DeviceLevel& level,
                     const DeviceFusion& weights, const DeviceMap& out, CUstream_st* stream) {
  for (const DeviceMap* map : {&inputs.h, &inputs.x, &inputs.z}) {
    if (map->type != out.type || map->channels != out.channels) {
      throw std::invalid_argument("state fusion: h, x, z and out must have one type and shape");
    }
  }
  if (inputs.c.type != DeviceType::kFloat32) {
    throw std::invalid_argument("state fusion: c must be fp32");
  }
  if (out.channels % 2 != 0 || out.channels > 64 * kMostPairs) {
    throw std::invalid_argument("state fusion: the channels must be even and at most 1536");
  }
  if (out.type == DeviceType::kFloat32) {
    LaunchObserve<float>(inputs, level, weights, out, stream);
    LaunchGate<float>(out, inputs.z, level, weights.norm, stream);
  } else {
    LaunchObserve<__nv_bfloat16>(inputs, level, weights, out, stream);
    LaunchGate<__nv_bfloat16>(out, inputs.z, level, weights.norm, stream);
  }
}

}  // namespace spatialmamba
