#pragma once

#include <vector>

#include "model/ops/gemm_cuda.h"

// Which part of the output a block of GemmCuda computes. No bit of a result depends on it: it is
// public to the tests that hold this, and to measurements.

namespace spatialmamba {

// Rows x outputs.
enum class GemmTile { k128x128, k128x64, k64x128, k64x64, k128x32, k32x64, k32x32 };

struct GemmTileSize {
  int rows;
  int outputs;
};
GemmTileSize SizeOf(GemmTile tile);

// Those that there are kernels for.
const std::vector<GemmTile>& GemmTiles(DeviceType type);

// The fastest by estimate.
GemmTile ChooseGemmTile(DeviceType type, int rows, int outputs);

// GemmCuda with this tile, one of GemmTiles(gemm.x.type).
void GemmCuda(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream);

// Its parts, each in a file of its own because of the time that they take to compile. `gemm` is
// checked before.
void LaunchGemmBf16(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream);
void LaunchConvBf16(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream);
void LaunchGemmFp32(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream);  // also dense conv

}  // namespace spatialmamba
