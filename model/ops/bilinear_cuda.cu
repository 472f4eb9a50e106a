#include "model/ops/bilinear_cuda.h"

#include <stdexcept>

#include "model/ops/bilinear_sample.h"
#include "model/ops/eight_channels.h"

namespace spatialmamba {
namespace {

constexpr int kThreads = 256;

struct BilinearParams {
  DeviceLevel level;
  DeviceLevel sum_level;
  const void* x;
  int64_t x_stride;
  void* sum;
  int64_t sum_stride;
  int channels;
};

// to = (1 - weight) to + weight other.
__device__ __forceinline__ void Mix(const float (&other)[kEight], float weight,
                                    float (&to)[kEight]) {
#pragma unroll
  for (int c = 0; c < kEight; ++c) to[c] = fmaf(weight, other[c], fmaf(-weight, to[c], to[c]));
}

// Grid: tiles of the sum. A thread takes eight channels of a pixel, neighbours the next channels.
template <typename T>
__global__ void __launch_bounds__(kThreads) BilinearKernel(BilinearParams p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.x) >= p.sum_level.counts[kTileCount]) return;
  const DeviceTile tile = p.sum_level.tiles[blockIdx.x];
  const DeviceSpan from = p.level.spans[tile.image];
  const DeviceSpan to = p.sum_level.spans[tile.image];
  const int groups = p.channels / kEight;
  const int work = p.sum_level.tile_rows * p.sum_level.tile_columns * groups;
  for (int i = static_cast<int>(threadIdx.x); i < work; i += kThreads) {
    const int pixel = i / groups;
    const int row = tile.row + pixel / p.sum_level.tile_columns;
    const int column = tile.column + pixel % p.sum_level.tile_columns;
    if (row >= to.height || column >= to.width) continue;
    const DeviceSample down = SampleAt(from.height, to.height, row);
    const DeviceSample across = SampleAt(from.width, to.width, column);
    const T* x = static_cast<const T*>(p.x) + from.offset * p.x_stride + i % groups * kEight;
    const T* upper = x + static_cast<int64_t>(down.low) * from.width * p.x_stride;
    const T* lower = x + static_cast<int64_t>(down.high) * from.width * p.x_stride;
    float above[kEight], below[kEight], above_right[kEight], below_right[kEight], sums[kEight];
    LoadEight(upper + across.low * p.x_stride, above);
    LoadEight(upper + across.high * p.x_stride, above_right);
    LoadEight(lower + across.low * p.x_stride, below);
    LoadEight(lower + across.high * p.x_stride, below_right);
    T* sum = static_cast<T*>(p.sum) +
             (to.offset + static_cast<int64_t>(row) * to.width + column) * p.sum_stride +
             i % groups * kEight;
    LoadEight(sum, sums);
    Mix(above_right, across.weight, above);
    Mix(below_right, across.weight, below);
    Mix(below, down.weight, above);
#pragma unroll
    for (int c = 0; c < kEight; ++c) sums[c] += above[c];
    StoreEight(sums, sum);
  }
}

}  // namespace

void AddBilinearCuda(const DeviceMap& x, const DeviceLevel& level, const DeviceMap& sum,
                     const DeviceLevel& sum_level, CUstream_st* stream) {
  if (x.type != sum.type || x.channels != sum.channels || x.channels < kEight ||
      x.channels % kEight != 0) {
    throw std::invalid_argument("AddBilinearCuda: maps do not fit");
  }
  BilinearParams p = {};
  p.level = level;
  p.sum_level = sum_level;
  p.x = x.data;
  p.x_stride = x.stride;
  p.sum = sum.data;
  p.sum_stride = sum.stride;
  p.channels = x.channels;
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(sum_level.tile_count));
  config.block = dim3(kThreads);
  config.stream = stream;
  if (x.type == DeviceType::kFloat32) {
    Launch("add_bilinear", &BilinearKernel<float>, config, p);
  } else {
    Launch("add_bilinear", &BilinearKernel<__nv_bfloat16>, config, p);
  }
}

}  // namespace spatialmamba
