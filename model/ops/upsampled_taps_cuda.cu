#include "model/ops/upsampled_taps_cuda.h"

#include <stdexcept>

#include "model/ops/bilinear_sample.h"
#include "model/ops/eight_channels.h"

namespace spatialmamba {
namespace {

// Neighbouring pixels of a row that a thread sums: what it interpolates along y serves all of them.
constexpr int kPixels = 4;
constexpr int kLanes = kTapPanel / kEight;  // threads of a panel, side by side
constexpr int kThreads = 128;
constexpr int kBlocksAtOnce = 3;  // of a multiprocessor: leaves registers for six loads under way

struct TapsParams {
  DeviceLevel level;
  DeviceTapMaps maps;
  void* sum;
  int64_t sum_stride;
  int channels;
};

// The pixels [column, column + kPixels) of a row of the sum, some of which may lie past its end.
struct Pixels {
  int row;
  int column;
  int height;
  int width;
};

// What a position reads of the map: `low` and the one after it. Both weights are zero where there
// is no such position, so that a tap outside the image gives nothing.
struct TapSample {
  int low;
  float low_weight;
  float high_weight;
};

__device__ __forceinline__ TapSample TapSampleAt(int from, int to, int i) {
  const DeviceSample sample = SampleAt(from, to, min(max(i, 0), to - 1));
  const bool inside = i >= 0 && i < to;
  // The last pixel of the map has none after it and gives all.
  const float high = sample.high == sample.low ? 0.0f : sample.weight;
  return {sample.low, inside ? 1.0f - high : 0.0f, inside ? high : 0.0f};
}

__device__ __forceinline__ float WeightOf(const TapSample& sample, int position) {
  return position == sample.low       ? sample.low_weight
         : position == sample.low + 1 ? sample.high_weight
                                      : 0.0f;
}

// Eight channels of one map. products: of the image's first token, the panel's first tap and those
// channels; `outputs`: of the panel.
template <typename T>
__device__ __forceinline__ void AddMap(const T* products, int64_t stride, int map_height,
                                       int map_width, int outputs, const Pixels& at,
                                       float (&sums)[kPixels][kEight]) {
  int rows[6];  // first tokens
  float row_weights[6];
#pragma unroll
  for (int r = 0; r < 3; ++r) {
    const TapSample sample = TapSampleAt(map_height, at.height, at.row + r - 1);
    rows[2 * r] = sample.low * map_width;
    rows[2 * r + 1] = min(sample.low + 1, map_height - 1) * map_width;
    row_weights[2 * r] = sample.low_weight;
    row_weights[2 * r + 1] = sample.high_weight;
  }
  TapSample columns[kPixels + 2];
#pragma unroll
  for (int i = 0; i < kPixels + 2; ++i) {
    columns[i] = TapSampleAt(map_width, at.width, at.column + i - 1);
  }
#pragma unroll
  for (int tap = 0; tap < 3; ++tap) {
    const int last = min(columns[tap + kPixels - 1].low + 1, map_width - 1);
    for (int column = columns[tap].low; column <= last; ++column) {
      float weights[kPixels];
      bool read = false;
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        weights[i] = WeightOf(columns[tap + i], column);
        read = read || weights[i] != 0;
      }
      if (!read) continue;
      float mixed[kEight] = {};
#pragma unroll
      for (int r = 0; r < 6; ++r) {
        float v[kEight];
        LoadEight(products + (rows[r] + column) * stride + (r / 2 * 3 + tap) * outputs, v);
#pragma unroll
        for (int c = 0; c < kEight; ++c) mixed[c] = fmaf(row_weights[r], v[c], mixed[c]);
      }
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
#pragma unroll
        for (int c = 0; c < kEight; ++c) sums[i][c] = fmaf(weights[i], mixed[c], sums[i][c]);
      }
    }
  }
}

template <typename T>
__device__ __forceinline__ void SumPixels(const TapsParams& p, int image, const DeviceSpan& span,
                                          int row, int column, int first, int outputs,
                                          int channel) {
  const Pixels at{row, column, span.height, span.width};
  T* out = static_cast<T*>(p.sum) +
           (span.offset + static_cast<int64_t>(row) * span.width + column) * p.sum_stride + first +
           channel;
  float sums[kPixels][kEight] = {};
#pragma unroll
  for (int i = 0; i < kPixels; ++i) {
    if (column + i < span.width) LoadEight(out + i * p.sum_stride, sums[i]);
  }
  for (int m = 0; m < p.maps.count; ++m) {
    const DeviceTapProducts& map = p.maps.maps[m];
    DeviceSpan from{image * map.side * map.side, map.side, map.side};
    if (map.spans != nullptr) from = map.spans[image];
    const T* products = static_cast<const T*>(map.products.data) +
                        static_cast<int64_t>(from.offset) * map.products.stride + 9 * first +
                        channel;
    AddMap(products, map.products.stride, from.height, from.width, outputs, at, sums);
  }
#pragma unroll
  for (int i = 0; i < kPixels; ++i) {
    if (column + i >= span.width) break;
#pragma unroll
    for (int c = 0; c < kEight; ++c) sums[i][c] = Relu(sums[i][c]);
    StoreEight(sums[i], out + i * p.sum_stride);
  }
}

// Grid: tiles, panels of the outputs. A thread sums eight channels of kPixels neighbours; the
// threads of a panel stand side by side, so that they read whole lines.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) UpsampledTapsKernel(TapsParams p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.x) >= p.level.counts[kTileCount]) return;
  const DeviceTile tile = p.level.tiles[blockIdx.x];
  const DeviceSpan span = p.level.spans[tile.image];
  const int first = static_cast<int>(blockIdx.y) * kTapPanel;
  const int outputs = min(kTapPanel, p.channels - first);
  const int channel = static_cast<int>(threadIdx.x) % kLanes * kEight;
  if (channel >= outputs) return;
  const int in_row = p.level.tile_columns / kPixels;
  const int pieces = p.level.tile_rows * in_row;
  for (int i = static_cast<int>(threadIdx.x) / kLanes; i < pieces;
       i += static_cast<int>(blockDim.x) / kLanes) {
    const int row = tile.row + i / in_row;
    const int column = tile.column + i % in_row * kPixels;
    if (row >= span.height || column >= span.width) continue;
    SumPixels<T>(p, tile.image, span, row, column, first, outputs, channel);
  }
}

void Check(const DeviceTapMaps& maps, const DeviceMap& sum) {
  bool fits = maps.count >= 1 && maps.count <= kMostTapMaps && sum.channels >= kEight &&
              sum.channels % kEight == 0;
  for (int i = 0; fits && i < maps.count; ++i) {
    const DeviceTapProducts& map = maps.maps[i];
    fits = map.products.type == sum.type && map.products.channels == 9 * sum.channels &&
           (map.spans != nullptr || map.side >= 1);
  }
  if (!fits) throw std::invalid_argument("AddUpsampledTapsReluCuda: maps do not fit");
}

}  // namespace

void AddUpsampledTapsReluCuda(const DeviceTapMaps& maps, const DeviceMap& sum,
                              const DeviceLevel& level, CUstream_st* stream) {
  Check(maps, sum);
  TapsParams p = {};
  p.level = level;
  p.maps = maps;
  p.sum = sum.data;
  p.sum_stride = sum.stride;
  p.channels = sum.channels;
  const int pieces = level.tile_rows * (level.tile_columns / kPixels);
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(level.tile_count),
                     static_cast<unsigned>((sum.channels + kTapPanel - 1) / kTapPanel));
  config.block = dim3(static_cast<unsigned>(min(kThreads, (pieces * kLanes + 31) / 32 * 32)));
  config.stream = stream;
  if (sum.type == DeviceType::kFloat32) {
    Launch("upsampled_taps", &UpsampledTapsKernel<float>, config, p);
  } else {
    Launch("upsampled_taps", &UpsampledTapsKernel<__nv_bfloat16>, config, p);
  }
}

}  // namespace spatialmamba
