#include "model/ops/gemm_kernel.h"

namespace spatialmamba {

void LaunchConvBf16(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream) {
  LaunchGemmTileBf16<true>(gemm, tile, stream);
}

}  // namespace spatialmamba
