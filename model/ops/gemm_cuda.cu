#include "model/ops/gemm_cuda.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "model/ops/gemm_tiles.h"

namespace spatialmamba {
namespace {

void Require(bool holds, const std::string& rule) {
  if (!holds) throw std::invalid_argument("GemmCuda: " + rule);
}

bool Aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

void CheckMap(const DeviceMap& map, int channels, const std::string& name) {
  Require(map.data != nullptr && Aligned(map.data), name + " is null or not aligned to 16 bytes");
  Require(map.channels == channels, name + " has " + std::to_string(map.channels) +
                                        " channels, not " + std::to_string(channels));
  Require(map.stride >= channels && map.stride * int64_t{DeviceBytes(map.type)} % 16 == 0,
          name + " has a stride of " + std::to_string(map.stride) +
              ": too small, or rows not aligned to 16 bytes");
}

void CheckLevel(const DeviceLevel& level, const std::string& name) {
  Require(level.counts != nullptr && level.spans != nullptr, name + " has no counts or spans");
}

void Check(const DeviceGemm& gemm) {
  Require(gemm.inputs > 0 && gemm.inputs % 8 == 0, "inputs are no multiple of 8");
  Require(gemm.outputs > 0, "no outputs");
  Require(gemm.weights != nullptr && Aligned(gemm.weights),
          "weights are null or not aligned to 16 bytes");
  Require(gemm.weight_stride >= gemm.inputs && gemm.weight_stride % 8 == 0,
          "the weights' stride is less than the inputs, or no multiple of 8");
  Require(gemm.rows != nullptr, "no row count");
  Require(gemm.row_capacity >= 0, "a negative row capacity");
  Require(gemm.step >= 0 && gemm.step <= 2, "the convolution's step is not 1 or 2");
  if (gemm.step > 0) {
    Require(gemm.inputs % 72 == 0, "the convolution's channels are no multiple of 8");
    CheckLevel(gemm.from, "from");
    CheckLevel(gemm.to, "to");
  }
  CheckMap(gemm.x, gemm.step > 0 ? gemm.inputs / 9 : gemm.inputs, "x");
  CheckMap(gemm.out, gemm.outputs, "out");
  Require(gemm.out.type == gemm.x.type || gemm.out.type == DeviceType::kFloat32,
          "out is neither of x's type nor fp32");
  if (gemm.residual.data != nullptr) {
    CheckMap(gemm.residual, gemm.outputs, "residual");
    Require(gemm.residual.type == gemm.x.type || gemm.residual.type == DeviceType::kFloat32,
            "residual is neither of x's type nor fp32");
  }
}

int64_t Parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

}  // namespace

GemmTileSize SizeOf(GemmTile tile) {
  switch (tile) {
    case GemmTile::k128x128:
      return {128, 128};
    case GemmTile::k128x64:
      return {128, 64};
    case GemmTile::k64x128:
      return {64, 128};
    case GemmTile::k64x64:
      return {64, 64};
    case GemmTile::k128x32:
      return {128, 32};
    case GemmTile::k32x64:
      return {32, 64};
    case GemmTile::k32x32:
      break;
  }
  return {32, 32};
}

const std::vector<GemmTile>& GemmTiles(DeviceType type) {
  static const std::vector<GemmTile> bf16 = {
      GemmTile::k128x128, GemmTile::k128x64, GemmTile::k64x128, GemmTile::k64x64,
      GemmTile::k128x32,  GemmTile::k32x64,  GemmTile::k32x32};
  static const std::vector<GemmTile> fp32 = {GemmTile::k128x64, GemmTile::k64x64, GemmTile::k32x32};
  return type == DeviceType::kBfloat16 ? bf16 : fp32;
}

// The time of the busiest multiprocessor for one input, in multiplications of its kind: those of a
// tile, and the rows that it reads at what they cost. Estimated for an H100; a guide for others
// too.
GemmTile ChooseGemmTile(DeviceType type, int rows, int outputs) {
  constexpr int64_t kProcessors = 132;
  const int64_t read_cost = type == DeviceType::kBfloat16 ? 75 : 15;  // a row's, from the L2 cache
  GemmTile best = GemmTile::k32x32;
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const GemmTile tile : GemmTiles(type)) {
    const GemmTileSize size = SizeOf(tile);
    const int64_t tiles = Parts(rows, size.rows) * Parts(outputs, size.outputs);
    const int64_t cost = Parts(tiles, kProcessors) * (int64_t{size.rows} * size.outputs +
                                                      read_cost * (size.rows + size.outputs));
    if (cost < least) {
      least = cost;
      best = tile;
    }
  }
  return best;
}

void GemmCuda(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream) {
  Check(gemm);
  const std::vector<GemmTile>& tiles = GemmTiles(gemm.x.type);
  Require(std::find(tiles.begin(), tiles.end(), tile) != tiles.end(), "no such tile for this type");
  if (gemm.row_capacity == 0) return;
  if (gemm.x.type == DeviceType::kFloat32) return LaunchGemmFp32(gemm, tile, stream);
  if (gemm.step != 0) return LaunchConvBf16(gemm, tile, stream);
  LaunchGemmBf16(gemm, tile, stream);
}

void GemmCuda(const DeviceGemm& gemm, CUstream_st* stream) {
  GemmCuda(gemm, ChooseGemmTile(gemm.x.type, gemm.row_capacity, gemm.outputs), stream);
}

}  // namespace spatialmamba
