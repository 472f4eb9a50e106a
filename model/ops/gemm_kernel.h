#pragma once

#include <type_traits>

#include "model/ops/gemm_copy.h"
#include "model/ops/gemm_sums.h"
#include "model/ops/gemm_tiles.h"

// The kernel of GemmCuda, for its .cu files to instantiate.

namespace spatialmamba {

// What a lane holds of 16 inputs for MmaBf16.
template <int kTiles>
struct GemmFragments {
  uint32_t x[kTiles][4];
  uint32_t weights[2][4];  // two matrices of 8 outputs each

  __device__ __forceinline__ void Load(const unsigned char* x_rows,
                                       const unsigned char* weight_rows) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) LoadMatrices(x[t], x_rows + t * 16 * kGemmRowBytes);
#pragma unroll
    for (int i = 0; i < 2; ++i) LoadMatrices(weights[i], weight_rows + i * 16 * kGemmRowBytes);
  }
};

// Adds one step's products to the sums; x and weights are the warp's rows of a stage.
template <int kTiles>
__device__ __forceinline__ void MultiplyGemmStep(const unsigned char* x,
                                                 const unsigned char* weights, int lane,
                                                 GemmSums<kTiles>& sums, __nv_bfloat16) {
  // Matrices of x: rows 0..7, 8..15, then the same of the next chunk. Of the weights: the first
  // chunk, the next, then the same of the 8 rows below.
  const int x_offset = lane % 16 * kGemmRowBytes + (lane / 16 ^ lane % 8) * kGemmChunkBytes;
  const int weight_offset =
      (lane / 16 * 8 + lane % 8) * kGemmRowBytes + (lane / 8 % 2 ^ lane % 8) * kGemmChunkBytes;
  constexpr int kParts = kGemmChunks / 2;  // 16 inputs each
  GemmFragments<kTiles> fragments[2];      // the next part is loaded while one is multiplied
  fragments[0].Load(x + x_offset, weights + weight_offset);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    if (part + 1 < kParts) {
      const int chunks = (part + 1) * 2 * kGemmChunkBytes;
      fragments[(part + 1) % 2].Load(x + (x_offset ^ chunks), weights + (weight_offset ^ chunks));
    }
    const GemmFragments<kTiles>& now = fragments[part % 2];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t pair[2] = {now.weights[j / 2][j % 2 * 2], now.weights[j / 2][j % 2 * 2 + 1]};
#pragma unroll
      for (int t = 0; t < kTiles; ++t) MmaBf16(sums[t][j], now.x[t], pair);
    }
  }
}

template <int kTiles>
__device__ __forceinline__ void MultiplyGemmStep(const unsigned char* x,
                                                 const unsigned char* weights, int lane,
                                                 GemmSums<kTiles>& sums, float) {
#pragma unroll 1
  for (int chunk = 0; chunk < kGemmChunks; ++chunk) {
    float4 w[8];
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      const int row = c / 2 * 8 + lane % 4 * 2 + c % 2;  // GemmOutputOfRow: lane % 4 * 8 + c
      w[c] = *reinterpret_cast<const float4*>(weights + row * kGemmRowBytes +
                                              (chunk ^ row % 8) * kGemmChunkBytes);
    }
#pragma unroll
    for (int i = 0; i < kTiles * 2; ++i) {
      const int row = lane / 4 + i * 8;
      const auto v = *reinterpret_cast<const float4*>(x + row * kGemmRowBytes +
                                                      (chunk ^ row % 8) * kGemmChunkBytes);
#pragma unroll
      for (int c = 0; c < 8; ++c) {
        float& sum = sums[i / 2][c / 2][i % 2 * 2 + c % 2];
        sum = fmaf(v.x, w[c].x, sum);
        sum = fmaf(v.y, w[c].y, sum);
        sum = fmaf(v.z, w[c].z, sum);
        sum = fmaf(v.w, w[c].w, sum);
      }
    }
  }
}

template <typename T, typename Shape, bool kConv>
using GemmCopies = std::conditional_t<kConv, GemmWindowCopies<T, Shape>, GemmRowCopies<T, Shape>>;

// One block a tile of the output, those of the same rows next to each other, so that x comes from
// DRAM once. Warps lie row by row; a lane's sums are as GemmSums says. Shared memory: the windows
// of a convolution, then min(kStages, steps) stages, each of kRows rows of x and kOutputs of
// weights.
template <typename T, typename Shape, bool kConv, Activation kActivation>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks) GemmKernel(DeviceGemm gemm) {
  using Copies = GemmCopies<T, Shape, kConv>;
  constexpr int kTiles = Shape::kWarpRows / 16;
  constexpr int kAhead = Shape::kStages - 1;  // steps that are copied before they are needed
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int across = (gemm.outputs + Shape::kOutputs - 1) / Shape::kOutputs;
  const int first_row = static_cast<int>(blockIdx.x) / across * Shape::kRows;
  const int first_output = static_cast<int>(blockIdx.x) % across * Shape::kOutputs;
  const int warp_row = warp / (Shape::kOutputs / 32) * Shape::kWarpRows;
  const int warp_output = warp % (Shape::kOutputs / 32) * 32;
  const int steps = (gemm.inputs + kGemmStepInputs<T> - 1) / kGemmStepInputs<T>;
  auto* const windows = SharedMemory<unsigned char>();
  auto* const stages = windows + Copies::kSharedBytes;
  auto* const x_target = stages + GemmCopyOffset(thread);
  auto* const weight_target = x_target + Shape::kRows * kGemmRowBytes;

  // No kernel writes weights, so these need not wait for the previous one.
  GemmWeightCopies<T, Shape> weight_copies(gemm, first_output, thread);
  for (int step = 0; step < min(kAhead, steps); ++step) {
    weight_copies.Copy(weight_target + step * Shape::kStageBytes);
  }
  GemmPlace place{first_row + warp_row + lane / 4, 0, first_output + warp_output + lane % 4 * 8, 0};
  place.count = min(gemm.outputs - place.output, 8);
  GemmSums<kTiles> sums;
  StartGemmSums<kTiles>(gemm.bias, place, sums);

  WaitForPreviousKernel();
  place.rows = *gemm.rows;
  if (first_row >= place.rows) {
    __pipeline_commit();
    __pipeline_wait_prior(0);
    return;
  }
  Copies::Prepare(gemm, first_row, place.rows, thread, windows);
  Copies x_copies(gemm, first_row, place.rows, thread, windows);
  for (int step = 0; step < kAhead; ++step) {
    if (step < steps) x_copies.Copy(x_target + step * Shape::kStageBytes);
    __pipeline_commit();
  }

  int stage = 0, free_stage = kAhead;
  for (int step = 0; step < steps; ++step) {
    __pipeline_wait_prior(kAhead - 1);
    __syncthreads();  // all copies of this step are there, and all reads of the last one done
    if (step + kAhead < steps) {
      x_copies.Copy(x_target + free_stage * Shape::kStageBytes);
      weight_copies.Copy(weight_target + free_stage * Shape::kStageBytes);
    }
    __pipeline_commit();
    const unsigned char* rows = stages + stage * Shape::kStageBytes;
    MultiplyGemmStep<kTiles>(rows + warp_row * kGemmRowBytes,
                             rows + (Shape::kRows + warp_output) * kGemmRowBytes, lane, sums, T());
    free_stage = stage;
    stage = stage + 1 == Shape::kStages ? 0 : stage + 1;
  }
  __pipeline_wait_prior(0);
  FinishGemm<kActivation, T, kTiles>(gemm, place, sums);
}

template <typename T, typename Shape, bool kConv, Activation kActivation>
void LaunchGemmKernel(const DeviceGemm& gemm, CUstream_st* stream) {
  const int steps = (gemm.inputs + kGemmStepInputs<T> - 1) / kGemmStepInputs<T>;
  const auto bytes = [](int stages) {
    return static_cast<size_t>(GemmCopies<T, Shape, kConv>::kSharedBytes) +
           static_cast<size_t>(stages) * Shape::kStageBytes;
  };
  LaunchConfig config;
  const auto across = static_cast<unsigned>((gemm.outputs - 1) / Shape::kOutputs + 1);
  config.grid = dim3(static_cast<unsigned>((gemm.row_capacity - 1) / Shape::kRows + 1) * across);
  config.block = dim3(Shape::kThreads);
  // Few steps take few stages, and more blocks fit. Above 48 KiB always the same size, because that
  // is a setting of the kernel, which launches that are recorded in a graph share.
  config.shared_bytes = bytes(min(steps, Shape::kStages));
  if (config.shared_bytes > 48 * 1024) config.shared_bytes = bytes(Shape::kStages);
  config.stream = stream;
  Launch("Gemm", &GemmKernel<T, Shape, kConv, kActivation>, config, gemm);
}

template <typename T, typename Shape, bool kConv>
void LaunchGemmShape(const DeviceGemm& gemm, CUstream_st* stream) {
  switch (gemm.activation) {
    case Activation::kNone:
      return LaunchGemmKernel<T, Shape, kConv, Activation::kNone>(gemm, stream);
    case Activation::kRelu:
      return LaunchGemmKernel<T, Shape, kConv, Activation::kRelu>(gemm, stream);
    case Activation::kSilu:
      return LaunchGemmKernel<T, Shape, kConv, Activation::kSilu>(gemm, stream);
    case Activation::kGelu:
      return LaunchGemmKernel<T, Shape, kConv, Activation::kGelu>(gemm, stream);
  }
}

// The shapes of the tensor core's kernels.
template <bool kConv>
void LaunchGemmTileBf16(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream) {
  using T = __nv_bfloat16;
  switch (tile) {
    case GemmTile::k128x128:
      return LaunchGemmShape<T, GemmShape<128, 128, 64, 3, 2>, kConv>(gemm, stream);
    case GemmTile::k128x64:
      return LaunchGemmShape<T, GemmShape<128, 64, 64, 3, 3>, kConv>(gemm, stream);
    case GemmTile::k64x128:
      return LaunchGemmShape<T, GemmShape<64, 128, 64, 3, 3>, kConv>(gemm, stream);
    case GemmTile::k64x64:
      return LaunchGemmShape<T, GemmShape<64, 64, 32, 4, 3>, kConv>(gemm, stream);
    case GemmTile::k128x32:
      return LaunchGemmShape<T, GemmShape<128, 32, 32, 3, 3>, kConv>(gemm, stream);
    case GemmTile::k32x64:
      return LaunchGemmShape<T, GemmShape<32, 64, 16, 6, 3>, kConv>(gemm, stream);
    case GemmTile::k32x32:
      return LaunchGemmShape<T, GemmShape<32, 32, 16, 8, 3>, kConv>(gemm, stream);
  }
}

}  // namespace spatialmamba
