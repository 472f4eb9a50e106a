#include "model/ops/gemm_kernel.h"

namespace spatialmamba {

void LaunchGemmBf16(const DeviceGemm& gemm, GemmTile tile, CUstream_st* stream) {
  LaunchGemmTileBf16<false>(gemm, tile, stream);
}

}  // namespace spatialmamba
