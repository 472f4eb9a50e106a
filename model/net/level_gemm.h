#pragma once

#include "model/ops/gemm_cuda.h"

namespace spatialmamba {

// GemmCuda on the tokens of a level; the rest of `gemm` is as it is to be.
inline void LevelGemm(DeviceGemm gemm, const DeviceLevel& level, CUstream_st* stream) {
  gemm.rows = level.counts + kTokenCount;
  gemm.row_capacity = level.tokens;
  GemmCuda(gemm, stream);
}

// As a dense 3x3 convolution, with a stride of `step` (1, 2) from one level to another.
inline void LevelConv3x3(DeviceGemm gemm, int step, const DeviceLevel& from, const DeviceLevel& to,
                         CUstream_st* stream) {
  gemm.step = step;
  gemm.from = from;
  gemm.to = to;
  LevelGemm(gemm, to, stream);
}
inline void LevelConv3x3(const DeviceGemm& gemm, const DeviceLevel& level, CUstream_st* stream) {
  LevelConv3x3(gemm, 1, level, level, stream);
}

inline DeviceGemm WithRelu(DeviceGemm gemm) {
  gemm.activation = Activation::kRelu;
  return gemm;
}

inline DeviceGemm WithResidual(DeviceGemm gemm, const DeviceMap& residual) {
  gemm.residual = residual;
  return gemm;
}

}  // namespace spatialmamba
