#pragma once

#include <cstdint>

#include "model/ops/gemm_params.h"

namespace spatialmamba {

// The bf16 GEMM on processors with AVX-512 BF16, whose instruction vdpbf16ps adds the products of
// two inputs at a time. Only where UsesAvx512Bf16() says so.

// Rounds the rows of x to bf16 and leaves them in the staging memory, [rows, ceil(inputs / 2)]
// pairs.
void PackRowsAvx512Bf16(const GemmParams& params);

// Sums, bias and residual of one weight panel for the rows packed before; no activation.
void PanelSumsAvx512Bf16(const GemmParams& params, int64_t panel);

}  // namespace spatialmamba
