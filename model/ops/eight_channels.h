#pragma once

#include <cstring>

#include "model/ops/kernel_math.h"

// Eight neighbouring channels of a map in one thread: one access of 16 bytes for bf16, two for
// fp32.

namespace spatialmamba {

constexpr int kEight = 8;

__device__ __forceinline__ void LoadEight(const float* from, float (&v)[kEight]) {
  const float4 low = *reinterpret_cast<const float4*>(from);
  const float4 high = *reinterpret_cast<const float4*>(from + 4);
  v[0] = low.x;
  v[1] = low.y;
  v[2] = low.z;
  v[3] = low.w;
  v[4] = high.x;
  v[5] = high.y;
  v[6] = high.z;
  v[7] = high.w;
}

__device__ __forceinline__ void LoadEight(const __nv_bfloat16* from, float (&v)[kEight]) {
  const uint4 pairs = *reinterpret_cast<const uint4*>(from);
  const unsigned words[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {  // bf16 is the upper half of an fp32 number
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000U);
  }
}

__device__ __forceinline__ void StoreEight(const float (&v)[kEight], float* to) {
  *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
  *reinterpret_cast<float4*>(to + 4) = make_float4(v[4], v[5], v[6], v[7]);
}

__device__ __forceinline__ void StoreEight(const float (&v)[kEight], __nv_bfloat16* to) {
  unsigned words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
    memcpy(&words[i], &pair, sizeof(pair));
  }
  *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace spatialmamba
