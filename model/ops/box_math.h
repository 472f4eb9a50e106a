#pragma once

#include "model/ops/device_boxes.h"
#include "model/ops/kernel.h"

// Arithmetic on boxes. It decides which box survives, so every operation is rounded by itself, in
// the order of box_decode_cpu.cc and nms_cpu.cc: __fmul_rn and its like keep the compiler from
// contracting a product and a sum into one rounding.

namespace spatialmamba {

__device__ __forceinline__ bool IsFinite(float v) {
  return (__float_as_uint(v) & 0x7F800000) != 0x7F800000;
}

// A value that is not a number stays one.
__device__ __forceinline__ float Clamped(float v, float low, float high) {
  return v < low ? low : high < v ? high : v;
}

__device__ __forceinline__ float Sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }

// What a regression's outputs are multiplied by, and where boxes are clipped.
struct BoxDecoding {
  float centre_scale;
  float extent_scale;
  float height;
  float width;
};

struct BoxInterval {
  float low;
  float high;
};

// Centre and sides after the deltas, along one axis.
__device__ __forceinline__ BoxInterval MovedInterval(BoxInterval from, float shift, float stretch,
                                                     float limit) {
  constexpr float kLongestStretch = 4.135166556742356f;  // |log(16 / 1000)|
  const float extent = __fsub_rn(from.high, from.low);
  const float middle = __fmul_rn(__fadd_rn(from.low, from.high), 0.5f);
  const float centre = __fadd_rn(middle, __fmul_rn(extent, shift));
  const float factor = expf(Clamped(stretch, -kLongestStretch, kLongestStretch));
  const float half = __fmul_rn(__fmul_rn(extent, factor), 0.5f);
  return {Clamped(__fsub_rn(centre, half), 0.0f, limit),
          Clamped(__fadd_rn(centre, half), 0.0f, limit)};
}

__device__ __forceinline__ DeviceBox DecodedBox(const DeviceBox& box, float4 deltas,
                                                const BoxDecoding& by) {
  const BoxInterval x = MovedInterval({box.left, box.right}, __fmul_rn(deltas.x, by.centre_scale),
                                      __fmul_rn(deltas.z, by.extent_scale), by.width);
  const BoxInterval y = MovedInterval({box.top, box.bottom}, __fmul_rn(deltas.y, by.centre_scale),
                                      __fmul_rn(deltas.w, by.extent_scale), by.height);
  return {x.low, y.low, x.high, y.high};
}

// The box of area (8 * stride)^2 that `pixel` of a map `width` pixels wide proposes, of ratio 1/2,
// 1 or 2 for shape 0, 1, 2.
__device__ __forceinline__ DeviceBox AnchorBox(int pixel, int shape, int width, int stride) {
  const float ratio = shape == 0 ? 0.5f : shape == 1 ? 1.0f : 2.0f;
  const float tall = sqrtf(ratio);
  const float size = static_cast<float>(stride);
  const float half_width = __fmul_rn(0.5f, __fmul_rn(__fmul_rn(size, __fdiv_rn(1.0f, tall)), 8.0f));
  const float half_height = __fmul_rn(0.5f, __fmul_rn(__fmul_rn(size, tall), 8.0f));
  const float x = static_cast<float>(pixel % width * stride);
  const float y = static_cast<float>(pixel / width * stride);
  return {__fsub_rn(x, half_width), __fsub_rn(y, half_height), __fadd_rn(x, half_width),
          __fadd_rn(y, half_height)};
}

__device__ __forceinline__ float LargestCoordinate(const DeviceBox& box) {
  return fmaxf(fmaxf(box.left, box.top), fmaxf(box.right, box.bottom));
}

// Groups are kept apart by their place times one more than the largest coordinate, which rounds the
// coordinates before overlaps are taken.
__device__ __forceinline__ DeviceBox ShiftedBox(const DeviceBox& box, int group, float largest) {
  const float shift = __fmul_rn(static_cast<float>(group), __fadd_rn(largest, 1.0f));
  return {__fadd_rn(box.left, shift), __fadd_rn(box.top, shift), __fadd_rn(box.right, shift),
          __fadd_rn(box.bottom, shift)};
}

__device__ __forceinline__ float BoxArea(const DeviceBox& box) {
  return __fmul_rn(__fsub_rn(box.right, box.left), __fsub_rn(box.bottom, box.top));
}

// Whether the boxes overlap (intersection over union) by more than `overlap`. Of two empty ones the
// overlap is 0 / 0, which is not.
__device__ __forceinline__ bool OverlapMore(const DeviceBox& a, const DeviceBox& b, float overlap) {
  const float width = fmaxf(0.0f, __fsub_rn(fminf(a.right, b.right), fmaxf(a.left, b.left)));
  const float height = fmaxf(0.0f, __fsub_rn(fminf(a.bottom, b.bottom), fmaxf(a.top, b.top)));
  const float common = __fmul_rn(width, height);
  if (common == 0 && overlap >= 0) return false;  // most pairs: saves the division
  return __fdiv_rn(common, __fsub_rn(__fadd_rn(BoxArea(a), BoxArea(b)), common)) > overlap;
}

// Lists of boxes are sorted by these, rising.
__device__ __forceinline__ uint64_t BoxKey(float score, unsigned place) {
  return static_cast<uint64_t>(~__float_as_uint(score)) << 32 | place;
}
__device__ __forceinline__ float ScoreOfKey(uint64_t key) {
  return __uint_as_float(~static_cast<unsigned>(key >> 32));
}
__device__ __forceinline__ unsigned PlaceOfKey(uint64_t key) { return static_cast<unsigned>(key); }

}  // namespace spatialmamba
