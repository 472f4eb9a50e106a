#pragma once

#include <cstring>

#include "model/ops/eight_channels.h"
#include "model/ops/gemm_cuda.h"
#include "model/ops/kernel.h"
#include "model/ops/kernel_math.h"

// Where the sums of GemmCuda start, and what becomes of them. All of it stays in registers: a lane
// has eight neighbouring outputs of a row, 16 bytes of bf16, and four lanes have 32.

namespace spatialmamba {

// A lane's sums of its warp's kTiles * 16 rows x 32 outputs: those of the row lane / 4 + 8 i and of
// the outputs lane % 4 * 8 + c, c from 0 to 7, at [i / 2][c / 2][i % 2 * 2 + c % 2].
template <int kTiles>
using GemmSums = float[kTiles][4][4];

// The first `count` of up to eight.
template <typename T>
__device__ __forceinline__ void LoadUpToEight(const T* from, int count, float (&to)[8]) {
  if (count == 8) return LoadEight(from, to);
#pragma unroll
  for (int i = 0; i < 8; ++i) to[i] = i < count ? ToFloat(from[i]) : 0;
}
template <typename T>
__device__ __forceinline__ void StoreUpToEight(const float (&from)[8], int count, T* to) {
  if (count == 8) return StoreEight(from, to);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (i < count) FromFloat(from[i], to + i);
  }
}

template <Activation kActivation>
__device__ __forceinline__ float Activated(float v) {
  if constexpr (kActivation == Activation::kRelu) return Relu(v);
  if constexpr (kActivation == Activation::kSilu) return Silu(v);
  if constexpr (kActivation == Activation::kGelu) return Gelu(v);
  return v;
}

// Where a lane's sums belong.
struct GemmPlace {
  int row;     // the first
  int rows;    // how many the batch has
  int output;  // the first of eight
  int count;   // how many of them there are; may be negative
};

template <int kTiles>
__device__ __forceinline__ void StartGemmSums(const float* bias, const GemmPlace& place,
                                              GemmSums<kTiles>& sums) {
#pragma unroll
  for (int c = 0; c < 8; ++c) {
    const float start = bias != nullptr && c < place.count ? __ldg(bias + place.output + c) : 0;
#pragma unroll
    for (int i = 0; i < kTiles * 2; ++i) sums[i / 2][c / 2][i % 2 * 2 + c % 2] = start;
  }
}

// A branch for each row keeps the compiler from working on more values at once than registers can
// hold.
template <Activation kActivation, int kTiles>
__device__ __forceinline__ void Activate(const GemmPlace& place, GemmSums<kTiles>& sums) {
#pragma unroll
  for (int i = 0; i < kTiles * 2; ++i) {
    if (place.row + i * 8 >= place.rows) continue;
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      float& sum = sums[i / 2][c / 2][i % 2 * 2 + c % 2];
      sum = Activated<kActivation>(sum);
    }
  }
}

// A pass of its own before anything is stored: `out` may be the residual, and so no load could
// overtake a store.
template <typename T, int kTiles>
__device__ __forceinline__ void AddResidual(const DeviceMap& residual, const GemmPlace& place,
                                            GemmSums<kTiles>& sums) {
  const T* from = static_cast<const T*>(residual.data) + place.output;
#pragma unroll
  for (int i = 0; i < kTiles * 2; ++i) {
    const int row = place.row + i * 8;
    if (row >= place.rows) continue;
    float values[8];
    LoadUpToEight(from + static_cast<int64_t>(row) * residual.stride, place.count, values);
#pragma unroll
    for (int c = 0; c < 8; ++c) sums[i / 2][c / 2][i % 2 * 2 + c % 2] += values[c];
  }
}

template <typename Out, int kTiles>
__device__ __forceinline__ void StoreGemm(const DeviceMap& out, const GemmPlace& place,
                                          const GemmSums<kTiles>& sums) {
  Out* to = static_cast<Out*>(out.data) + place.output;
#pragma unroll
  for (int i = 0; i < kTiles * 2; ++i) {
    const int row = place.row + i * 8;
    if (row >= place.rows) continue;
    float values[8];
#pragma unroll
    for (int c = 0; c < 8; ++c) values[c] = sums[i / 2][c / 2][i % 2 * 2 + c % 2];
    StoreUpToEight(values, place.count, to + static_cast<int64_t>(row) * out.stride);
  }
}

template <Activation kActivation, typename T, int kTiles>
__device__ __forceinline__ void FinishGemm(const DeviceGemm& gemm, const GemmPlace& place,
                                           GemmSums<kTiles>& sums) {
  if (place.count <= 0) return;
  Activate<kActivation, kTiles>(place, sums);
  if (gemm.residual.data != nullptr) {
    if (gemm.residual.type == DeviceType::kFloat32) {
      AddResidual<float, kTiles>(gemm.residual, place, sums);
    } else {
      AddResidual<T, kTiles>(gemm.residual, place, sums);
    }
  }
  if (sizeof(T) == sizeof(float) || gemm.out.type == DeviceType::kFloat32) {
    StoreGemm<float, kTiles>(gemm.out, place, sums);
  } else {
    StoreGemm<__nv_bfloat16, kTiles>(gemm.out, place, sums);
  }
}

}  // namespace spatialmamba
