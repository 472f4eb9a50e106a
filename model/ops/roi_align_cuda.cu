#include "model/ops/roi_align_cuda.h"

#include <stdexcept>

#include "model/ops/box_math.h"
#include "model/ops/eight_channels.h"

namespace spatialmamba {
namespace {

constexpr unsigned kWholeWarp = 0xFFFFFFFF;
constexpr int kWarpChannels = 32 * kEight;

template <typename T>
struct RoiAlignKernelParams {
  const T* maps[kRoiLevels];
  int map_strides[kRoiLevels];
  const DeviceSpan* spans[kRoiLevels];
  float scales[kRoiLevels];  // pixels of the map per pixel of the picture
  const DeviceBox* boxes;    // the piece's first
  const int* images;
  const int* count;
  int channels;
  T* out;
};

// floor(log2(sqrt(area) / 56 + 1e-6)), clamped.
__device__ __forceinline__ int LevelOf(const DeviceBox& box) {
  const float side = sqrtf(BoxArea(box));
  const float level = floorf(log2f(__fadd_rn(__fdiv_rn(side, 56.0f), 1e-6f)));
  return static_cast<int>(Clamped(level, 0.0f, static_cast<float>(kRoiLevels - 1)));
}

// A sample's two pixels and the weight of the second.
struct SampleTaps {
  int low;
  int high;
  float to_high;
};

// One axis of a box, with roi_align_cpu.cc's order of operations.
struct RoiAxis {
  float low;  // in pixels of the map
  float cell_side;
  int size;     // of the map
  int samples;  // of each cell

  __device__ __forceinline__ float Position(int cell, int sample) const {
    const float within = __fmul_rn(static_cast<float>(sample) + 0.5f, cell_side);
    return __fadd_rn(__fadd_rn(low, __fmul_rn(static_cast<float>(cell), cell_side)),
                     __fdiv_rn(within, static_cast<float>(samples)));
  }
  __device__ __forceinline__ bool Counts(float position) const {
    return !(position < -1.0f || position > static_cast<float>(size));
  }
  __device__ __forceinline__ SampleTaps TapsAt(float position) const {
    position = fmaxf(position, 0.0f);
    const int first = static_cast<int>(position);
    if (first >= size - 1) return {size - 1, size - 1, 0.0f};
    return {first, first + 1, __fsub_rn(position, static_cast<float>(first))};
  }
};

__device__ __forceinline__ RoiAxis AxisOf(float from, float to, float scale, int size, int cells) {
  const float low = __fsub_rn(__fmul_rn(from, scale), 0.5f);
  const float side = __fsub_rn(__fsub_rn(__fmul_rn(to, scale), 0.5f), low);
  const float cell_side = __fdiv_rn(side, static_cast<float>(cells));
  const float samples = ceilf(cell_side);
  return {low, cell_side, size, samples > 0 ? static_cast<int>(samples) : 0};
}

// The pixels that a cell's samples touch.
struct PixelRange {
  int first;
  int count;
};

__device__ __forceinline__ PixelRange PixelsOf(const RoiAxis& axis, int cell) {
  int first = 0;
  int last = axis.samples - 1;
  while (first <= last && !axis.Counts(axis.Position(cell, first))) ++first;
  while (last > first && !axis.Counts(axis.Position(cell, last))) --last;
  if (first > last) return {0, 0};
  const int low = axis.TapsAt(axis.Position(cell, first)).low;
  return {low, axis.TapsAt(axis.Position(cell, last)).high - low + 1};
}

// How much a pixel weighs in the sum of a cell's samples.
__device__ __forceinline__ float WeightOf(const RoiAxis& axis, int cell, int pixel) {
  float weight = 0;
  for (int i = 0; i < axis.samples; ++i) {
    const float position = axis.Position(cell, i);
    if (!axis.Counts(position)) continue;
    const SampleTaps taps = axis.TapsAt(position);
    if (taps.low == pixel) weight = __fadd_rn(weight, __fsub_rn(1.0f, taps.to_high));
    if (taps.high == pixel) weight = __fadd_rn(weight, taps.to_high);
  }
  return weight;
}

// A row of a box's cells on its map.
template <typename T>
struct CellRow {
  const T* map;  // the image's first pixel
  int map_stride;
  RoiAxis y;
  RoiAxis x;
  PixelRange rows;
  float down;  // the lane's: weight of pixel row rows.first + lane
};

// The sum over the pixels of one cell of the row, in eight channels of each lane: the weights of 32
// pixels along an axis are spread over the lanes.
template <typename T>
__device__ __forceinline__ void SumCell(const CellRow<T>& own, int cell_row, int cell, int channel,
                                        bool active, float (&sums)[kEight]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const PixelRange columns = PixelsOf(own.x, cell);
  for (int i0 = 0; i0 < own.rows.count; i0 += 32) {
    const float down = i0 == 0 ? own.down : WeightOf(own.y, cell_row, own.rows.first + i0 + lane);
    const int row_count = min(32, own.rows.count - i0);
    for (int j0 = 0; j0 < columns.count; j0 += 32) {
      const float across = WeightOf(own.x, cell, columns.first + j0 + lane);
      const int column_count = min(32, columns.count - j0);
      for (int i = 0; i < row_count; ++i) {
        const float down_i = __shfl_sync(kWholeWarp, down, i);
        const int64_t first =
            static_cast<int64_t>(own.rows.first + i0 + i) * own.x.size + columns.first + j0;
        const T* pixel = own.map + first * own.map_stride + channel;
        for (int j = 0; j < column_count; ++j, pixel += own.map_stride) {
          const float weight = __fmul_rn(down_i, __shfl_sync(kWholeWarp, across, j));
          if (!active) continue;
          float v[kEight];
          LoadEight(pixel, v);
#pragma unroll
          for (int c = 0; c < kEight; ++c) sums[c] = fmaf(weight, v[c], sums[c]);
        }
      }
    }
  }
}

// Grid: boxes. A warp for each row of cells, eight channels for each lane.
template <typename T, int kCells>
__global__ void __launch_bounds__(kCells * 32, 1) RoiAlignKernel(RoiAlignKernelParams<T> p) {
  WaitForPreviousKernel();
  const int roi = static_cast<int>(blockIdx.x);
  if (roi >= *p.count) return;
  const int cell_row = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const DeviceBox box = p.boxes[roi];
  const int level = LevelOf(box);
  const DeviceSpan span = p.spans[level][p.images[roi]];
  const float scale = p.scales[level];
  CellRow<T> own;
  own.map_stride = p.map_strides[level];
  own.map = p.maps[level] + static_cast<int64_t>(span.offset) * own.map_stride;
  own.y = AxisOf(box.top, box.bottom, scale, span.height, kCells);
  own.x = AxisOf(box.left, box.right, scale, span.width, kCells);
  own.rows = PixelsOf(own.y, cell_row);
  own.down = WeightOf(own.y, cell_row, own.rows.first + lane);
  const int64_t samples = static_cast<int64_t>(own.y.samples) * own.x.samples;
  const float divisor = static_cast<float>(samples > 1 ? samples : 1);
  T* out = p.out + (static_cast<int64_t>(roi) * kCells + cell_row) * kCells * p.channels;
  for (int first = 0; first < p.channels; first += kWarpChannels) {
    const int channel = first + lane * kEight;
    const bool active = channel < p.channels;
#pragma unroll 1
    for (int cell = 0; cell < kCells; ++cell) {
      float sums[kEight] = {};
      SumCell(own, cell_row, cell, channel, active, sums);
      if (!active) continue;
#pragma unroll
      for (int c = 0; c < kEight; ++c) sums[c] = __fdiv_rn(sums[c], divisor);
      StoreEight(sums, out + static_cast<int64_t>(cell) * p.channels + channel);
    }
  }
}

void Check(const DeviceRoiAlign& r) {
  for (const DeviceMap& map : r.maps) {
    if (map.type != r.out.type || map.channels != r.out.channels) {
      throw std::invalid_argument("RoiAlignCuda: maps and output differ in type or channels");
    }
  }
  if (r.out.channels % kEight != 0 || r.out.stride != r.out.channels) {
    throw std::invalid_argument("RoiAlignCuda: channels are no multiple of 8, or rows have gaps");
  }
  if (r.piece < 0 || r.piece >= r.rois.pieces() || (r.cells != 7 && r.cells != 14)) {
    throw std::invalid_argument("RoiAlignCuda: no such piece, or another number of cells");
  }
}

template <typename T>
void LaunchRoiAlign(const DeviceRoiAlign& r, CUstream_st* stream) {
  RoiAlignKernelParams<T> params;
  for (int i = 0; i < kRoiLevels; ++i) {
    params.maps[i] = static_cast<const T*>(r.maps[i].data);
    params.map_strides[i] = r.maps[i].stride;
    params.spans[i] = r.levels[i].spans;
    params.scales[i] = 1.0f / static_cast<float>(r.strides[i]);
  }
  const int first = r.piece * r.rois.piece_capacity;
  params.boxes = r.rois.boxes + first;
  params.images = r.rois.images + first;
  params.count = r.rois.counts_of(r.piece) + kImageCount;
  params.channels = r.out.channels;
  params.out = static_cast<T*>(r.out.data);
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(r.rois.piece_capacity));
  config.block = dim3(static_cast<unsigned>(r.cells) * 32);
  config.stream = stream;
  if (r.cells == 7) {
    Launch("roi_align", &RoiAlignKernel<T, 7>, config, params);
  } else {
    Launch("roi_align", &RoiAlignKernel<T, 14>, config, params);
  }
}

}  // namespace

void RoiAlignCuda(const DeviceRoiAlign& roi_align, CUstream_st* stream) {
  Check(roi_align);
  if (roi_align.out.type == DeviceType::kFloat32) {
    LaunchRoiAlign<float>(roi_align, stream);
  } else {
    LaunchRoiAlign<__nv_bfloat16>(roi_align, stream);
  }
}

}  // namespace spatialmamba
