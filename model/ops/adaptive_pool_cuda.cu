#include "model/ops/adaptive_pool_cuda.h"

#include <stdexcept>

#include "model/ops/eight_channels.h"

namespace spatialmamba {
namespace {

constexpr int kWarps = 8;
constexpr int kBlocksAtOnce = 2;  // of a multiprocessor, at least: leaves all registers it can use
constexpr int kColumns = 4;       // pixels of a row that a warp reads at once
constexpr int kBlockChannels = 32 / kColumns * kEight;

struct PoolParams {
  DeviceLevel level;
  DevicePoolGrids grids;
  const void* x;
  int64_t x_stride;
  int channels;
  int cells;  // of all grids of an image
};

// Pixels [first_row, last_row) x [first_column, last_column).
struct Bin {
  int first_row;
  int last_row;
  int first_column;
  int last_column;
};

__device__ __forceinline__ Bin BinOf(const DeviceSpan& span, int bins, int cell) {
  const int row = cell / bins;
  const int column = cell % bins;
  // In 64 bits: a side may be 2^31 pixels long.
  const auto first = [bins](int i, int64_t pixels) { return static_cast<int>(i * pixels / bins); };
  const auto last = [bins](int i, int64_t pixels) {
    return static_cast<int>(((i + 1) * pixels + bins - 1) / bins);
  };
  return {first(row, span.height), last(row, span.height), first(column, span.width),
          last(column, span.width)};
}

// Every kColumns-th pixel of a row.
template <typename T>
__device__ __forceinline__ void AddRow(const T* x, int64_t stride, int first, int count,
                                       float (&sums)[kEight]) {
#pragma unroll 2
  for (int i = first; i < count; i += kColumns) {
    float v[kEight];
    LoadEight(x + i * stride, v);
#pragma unroll
    for (int c = 0; c < kEight; ++c) sums[c] += v[c];
  }
}

// The sums of a row's pixels together, in the lanes of its first.
__device__ __forceinline__ void AddColumns(float (&sums)[kEight]) {
#pragma unroll
  for (int c = 0; c < kEight; ++c) {
#pragma unroll
    for (int distance = 32 / kColumns; distance < 32; distance *= 2) {
      sums[c] += __shfl_xor_sync(0xFFFFFFFF, sums[c], distance);
    }
  }
}

// To those of the first warp those of the others.
__device__ __forceinline__ void AddWarps(const float* partial, float (&sums)[kEight]) {
  for (int w = 1; w < kWarps; ++w) {
    float v[kEight];
    LoadEight(partial + w * kBlockChannels, v);
#pragma unroll
    for (int c = 0; c < kEight; ++c) sums[c] += v[c];
  }
}

// Grid: cells of all grids of all images, pieces of the channels. The warps share the rows of the
// bin, the lanes of a warp a row's pixels, eight channels each; shuffles and then shared memory
// [warps, channels] add them up.
template <typename T>
__global__ void __launch_bounds__(kWarps * 32, kBlocksAtOnce) PoolKernel(PoolParams p) {
  WaitForPreviousKernel();
  const int images = p.level.counts[kImageCount];
  if (blockIdx.x == 0 && blockIdx.y == 0 && static_cast<int>(threadIdx.x) < p.grids.count) {
    const int bins = p.grids.bins[threadIdx.x];
    p.grids.rows[threadIdx.x] = images * bins * bins;
  }
  const int image = static_cast<int>(blockIdx.x) / p.cells;
  if (image >= images) return;
  int cell = static_cast<int>(blockIdx.x) % p.cells;
  int grid = 0;
  for (; cell >= p.grids.bins[grid] * p.grids.bins[grid]; ++grid) {
    cell -= p.grids.bins[grid] * p.grids.bins[grid];
  }
  const int bins = p.grids.bins[grid];
  const DeviceSpan span = p.level.spans[image];
  const Bin bin = BinOf(span, bins, cell);

  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int own = lane % (32 / kColumns) * kEight;
  const int first_column = lane / (32 / kColumns);
  const int channel = static_cast<int>(blockIdx.y) * kBlockChannels + own;
  const bool active = channel < p.channels;
  auto* partial = SharedMemory<float>();
  float sums[kEight] = {};
  if (active) {
    const T* x = static_cast<const T*>(p.x) + channel;
    for (int row = bin.first_row + warp; row < bin.last_row; row += kWarps) {
      const int64_t token = span.offset + static_cast<int64_t>(row) * span.width + bin.first_column;
      AddRow(x + token * p.x_stride, p.x_stride, first_column, bin.last_column - bin.first_column,
             sums);
    }
  }
  AddColumns(sums);
  if (first_column == 0) StoreEight(sums, partial + warp * kBlockChannels + own);
  __syncthreads();
  if (warp != 0 || first_column != 0 || !active) return;
  AddWarps(partial + own, sums);
  const float area = static_cast<float>(bin.last_row - bin.first_row) *
                     static_cast<float>(bin.last_column - bin.first_column);
#pragma unroll
  for (int c = 0; c < kEight; ++c) sums[c] = sums[c] / area;
  const DeviceMap& out = p.grids.out[grid];
  const int64_t row = static_cast<int64_t>(image) * bins * bins + cell;
  StoreEight(sums, static_cast<T*>(out.data) + row * out.stride + channel);
}

void Check(const DeviceMap& x, const DevicePoolGrids& grids) {
  bool fits = grids.count >= 1 && grids.count <= kMostPoolGrids && grids.rows != nullptr &&
              x.channels >= kEight && x.channels % kEight == 0;
  for (int i = 0; fits && i < grids.count; ++i) {
    fits = grids.bins[i] >= 1 && grids.out[i].type == x.type && grids.out[i].channels == x.channels;
  }
  if (!fits) throw std::invalid_argument("AdaptivePoolCuda: maps do not fit");
}

}  // namespace

void AdaptivePoolCuda(const DeviceMap& x, const DeviceLevel& level, const DevicePoolGrids& grids,
                      CUstream_st* stream) {
  Check(x, grids);
  PoolParams p = {};
  p.level = level;
  p.grids = grids;
  p.x = x.data;
  p.x_stride = x.stride;
  p.channels = x.channels;
  for (int i = 0; i < grids.count; ++i) p.cells += grids.bins[i] * grids.bins[i];
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(level.images * p.cells),
                     static_cast<unsigned>((x.channels + kBlockChannels - 1) / kBlockChannels));
  config.block = dim3(kWarps * 32);
  config.shared_bytes = kWarps * kBlockChannels * sizeof(float);
  config.stream = stream;
  if (x.type == DeviceType::kFloat32) {
    Launch("adaptive_pool", &PoolKernel<float>, config, p);
  } else {
    Launch("adaptive_pool", &PoolKernel<__nv_bfloat16>, config, p);
  }
}

}  // namespace spatialmamba
