#include "model/ops/gemm_kernel.h"

namespace spatialmamba {
namespace {

template <bool kConv>
void LaunchTile(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream) {
  switch (tile) {
    case GemmTile::k128x64:
      return LaunchGemmShape<float, GemmShape<128, 64, 64, 3, 2>, kConv>(gemm, stream);
    case GemmTile::k64x64:
      return LaunchGemmShape<float, GemmShape<64, 64, 32, 4, 3>, kConv>(gemm, stream);
    default:
      return LaunchGemmShape<float, GemmShape<32, 32, 16, 4, 4>, kConv>(gemm, stream);
  }
}

}  // namespace

void LaunchGemmFp32(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream) {
  if (gemm.step != 0) return LaunchTile<true>(gemm, tile, stream);
  LaunchTile<false>(gemm, tile, stream);
}

}  // namespace spatialmamba
