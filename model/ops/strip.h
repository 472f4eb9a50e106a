#pragma once

#include "model/ops/kernel_math.h"

// How the kernels of depthwise convolutions and state fusion walk over a map. A block takes one
// tile of one image (DeviceTile), cut into strips of kStrip neighbouring pixels of a row. A lane
// holds two channels of a strip in registers, so that every access of a warp is one coalesced piece
// of a pixel; neighbours come from the L1 cache, which the strips of a block share.

namespace spatialmamba {

constexpr int kStrip = 8;

// A block: `warps` side by side cover the channels (or a part of them) of a strip, `groups` of them
// take different strips.
struct StripBlock {
  int warps;
  int groups;
  int threads() const { return warps * groups * 32; }
};

constexpr int kChannelsOfWarp = 64;

inline int WarpsOfChannels(int channels) {
  return (channels + kChannelsOfWarp - 1) / kChannelsOfWarp;
}

// Groups of so many warps that fill a block of `block_warps`, no more than a tile has strips.
inline int GroupsOfStrips(int warps, int block_warps, const DeviceLevel& level) {
  const int strips = level.tile_rows * (level.tile_columns / kStrip);
  const int fit = block_warps / warps;
  return fit < 1 ? 1 : fit < strips ? fit : strips;
}

// What a thread knows of its place in the block.
struct StripPlace {
  int lane;
  int warp;   // of its group: which 64 channels
  int group;  // which strips of the tile
};

__device__ __forceinline__ StripPlace PlaceInBlock(int warps) {
  const int warp = static_cast<int>(threadIdx.x / 32);
  return {static_cast<int>(threadIdx.x % 32), warp % warps, warp / warps};
}

// Where one strip lies. Pixels [column, column + count) of `row`, of an image whose first token is
// `offset`; count is 0 for a surplus strip.
struct Strip {
  int offset;
  int height;
  int width;
  int row;
  int column;
  int count;

  __device__ __forceinline__ int64_t token() const {
    return offset + static_cast<int64_t>(row) * width + column;
  }
  __device__ __forceinline__ DeviceSpan span() const { return {offset, height, width}; }
};

__device__ __forceinline__ Strip StripOfTile(const DeviceLevel& level, const DeviceTile& tile,
                                             int index) {
  const DeviceSpan span = level.spans[tile.image];
  const int in_row = level.tile_columns / kStrip;
  Strip strip;
  strip.offset = span.offset;
  strip.height = span.height;
  strip.width = span.width;
  strip.row = tile.row + index / in_row;
  strip.column = tile.column + index % in_row * kStrip;
  const bool inside = index < level.tile_rows * in_row && strip.row < span.height;
  strip.count = inside ? max(0, min(kStrip, span.width - strip.column)) : 0;
  return strip;
}

// From the kStrip values of every lane, their sums over the warp: lane l gets that of value
// ValueOfLane(l). Halves the values that a lane carries at each of the first steps, so that 9
// exchanges do instead of 40.
__device__ __forceinline__ float StripWarpSums(const float (&values)[kStrip], int lane) {
  float four[4], two[2];
  const bool high16 = (lane & 16) != 0;
  const bool high8 = (lane & 8) != 0;
  const bool high4 = (lane & 4) != 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float keep = high16 ? values[i + 4] : values[i];
    const float give = high16 ? values[i] : values[i + 4];
    four[i] = keep + __shfl_xor_sync(0xFFFFFFFF, give, 16);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float keep = high8 ? four[i + 2] : four[i];
    const float give = high8 ? four[i] : four[i + 2];
    two[i] = keep + __shfl_xor_sync(0xFFFFFFFF, give, 8);
  }
  const float keep = high4 ? two[1] : two[0];
  const float give = high4 ? two[0] : two[1];
  float sum = keep + __shfl_xor_sync(0xFFFFFFFF, give, 4);
  sum += __shfl_xor_sync(0xFFFFFFFF, sum, 2);
  sum += __shfl_xor_sync(0xFFFFFFFF, sum, 1);
  return sum;
}

__device__ __forceinline__ int ValueOfLane(int lane) {
  return (lane >> 4 & 1) * 4 + (lane >> 3 & 1) * 2 + (lane >> 2 & 1);
}

// Sums over all warps of a group of each thread's kStrip values, the same bits in every thread.
// `partial` is shared memory, [groups][warps][kStrip], and must not be written again before the
// block's threads have met once more. All threads of the block call it.
__device__ __forceinline__ void StripSums(float (&values)[kStrip], const StripPlace& place,
                                          int warps, float* partial) {
  float* own = partial + place.group * warps * kStrip;
  const float sum = StripWarpSums(values, place.lane);
  if ((place.lane & 3) == 0) own[place.warp * kStrip + ValueOfLane(place.lane)] = sum;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kStrip; ++i) values[i] = 0;
  for (int w = 0; w < warps; ++w) {
    const auto* of_warp = reinterpret_cast<const float4*>(own + w * kStrip);
    const float4 low = of_warp[0];
    const float4 high = of_warp[1];
    values[0] += low.x;
    values[1] += low.y;
    values[2] += low.z;
    values[3] += low.w;
    values[4] += high.x;
    values[5] += high.y;
    values[6] += high.z;
    values[7] += high.w;
  }
}

// Bytes of shared memory of a StripNorm.
constexpr size_t StripNormBytes(const StripBlock& block) {
  return sizeof(float) * 2 * kStrip * static_cast<size_t>(block.warps * block.groups);
}

// LayerNorm over the channels of every pixel of a strip, in place, without gain and bias. The
// variance is that of the differences from the mean. Lanes past the last channel hold zeros and
// `active` = false. `shared`: StripNormBytes. All threads of the block call it.
__device__ __forceinline__ void StripNorm(float2 (&values)[kStrip], bool active, int channels,
                                          const StripPlace& place, int warps, int groups,
                                          float* shared) {
  const float share = 1.0f / static_cast<float>(channels);
  float sums[kStrip];
#pragma unroll
  for (int i = 0; i < kStrip; ++i) sums[i] = values[i].x + values[i].y;
  StripSums(sums, place, warps, shared);
  float squares[kStrip];
#pragma unroll
  for (int i = 0; i < kStrip; ++i) {
    const float mean = sums[i] * share;
    values[i].x -= mean;
    values[i].y -= mean;
    squares[i] = active ? fmaf(values[i].x, values[i].x, values[i].y * values[i].y) : 0.0f;
  }
  StripSums(squares, place, warps, shared + groups * warps * kStrip);
#pragma unroll
  for (int i = 0; i < kStrip; ++i) {
    const float inverse = rsqrtf(squares[i] * share + 1e-5f);
    values[i].x *= inverse;
    values[i].y *= inverse;
  }
}

__device__ __forceinline__ void MultiplyAdd(float2 a, float2 b, float2& sum) {
  sum.x = fmaf(a.x, b.x, sum.x);
  sum.y = fmaf(a.y, b.y, sum.y);
}

}  // namespace spatialmamba
