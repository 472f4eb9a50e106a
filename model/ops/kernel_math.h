#pragma once

#include "model/ops/device_batch.h"
#include "model/ops/kernel.h"

// Element maths and small searches that kernels share.

namespace spatialmamba {

__device__ __forceinline__ float ToFloat(float v) { return v; }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ void FromFloat(float v, float* out) { *out = v; }
__device__ __forceinline__ void FromFloat(float v, __nv_bfloat16* out) {
  *out = __float2bfloat16(v);
}

// Two neighbouring values in one access: 8 bytes of fp32, 4 of bf16.
__device__ __forceinline__ float2 LoadPair(const float* from) {
  return *reinterpret_cast<const float2*>(from);
}
__device__ __forceinline__ float2 LoadPair(const __nv_bfloat16* from) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from));
}
__device__ __forceinline__ void StorePair(float2 v, float* to) {
  *reinterpret_cast<float2*>(to) = v;
}
__device__ __forceinline__ void StorePair(float2 v, __nv_bfloat16* to) {
  *reinterpret_cast<__nv_bfloat162*>(to) = __floats2bfloat162_rn(v.x, v.y);
}

// A pair as it lies in memory. Kernels load many of these before they use the first, so that as
// many accesses are under way; the compiler would otherwise wait for each few.
template <typename T>
struct RawPair;
template <>
struct RawPair<float> {
  float2 bits;
  __device__ __forceinline__ float2 value() const { return bits; }
};
template <>
struct RawPair<__nv_bfloat16> {
  unsigned bits;
  // The bits of a bf16 are the upper half of an fp32's.
  __device__ __forceinline__ float2 value() const {
    return make_float2(__uint_as_float(bits << 16), __uint_as_float(bits & 0xFFFF0000u));
  }
};
__device__ __forceinline__ RawPair<float> LoadRaw(const float* from) {
  return {*reinterpret_cast<const float2*>(from)};
}
__device__ __forceinline__ RawPair<__nv_bfloat16> LoadRaw(const __nv_bfloat16* from) {
  return {*reinterpret_cast<const unsigned*>(from)};
}

// The sum over the warp's 32 lanes, the same bits in every lane.
__device__ __forceinline__ float WarpSum(float v) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    v += __shfl_xor_sync(0xFFFFFFFF, v, distance);
  }
  return v;
}

// A NaN stays one, so that a network's last numbers tell of it.
__device__ __forceinline__ float Relu(float x) { return x < 0 ? 0 : x; }
__device__ __forceinline__ float Silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }
// The exact form, x Phi(x).
__device__ __forceinline__ float Gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}
// The image that a token belongs to: the last span that begins at or before it. `images` >= 1,
// spans back to back from 0 on.
__device__ __forceinline__ int ImageOfToken(const DeviceSpan* spans, int images, int token) {
  int first = 0;
  while (images > 1) {
    const int half = images / 2;
    if (spans[first + half].offset <= token) {
      first += half;
      images -= half;
    } else {
      images = half;
    }
  }
  return first;
}

}  // namespace spatialmamba
