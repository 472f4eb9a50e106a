#pragma once

#include <cstdint>

#include "model/ops/epilogue.h"
#include "model/ops/packed_matrix.h"

namespace spatialmamba {

// out[rows, outputs] = epilogue(x[rows, inputs] W^T). Strides in elements.
struct GemmParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t rows = 0;
  const PackedMatrix* weights = nullptr;
  float* out = nullptr;
  int64_t out_stride = 0;
  Epilogue epilogue;
};

// A single-threaded piece of it, of all rows and the weight panels [first_panel, last_panel), for
// ops that run it inside a body of their own.
void GemmCpu(const GemmParams& params, int64_t first_panel, int64_t last_panel);

inline void GemmCpu(const GemmParams& params) { GemmCpu(params, 0, params.weights->panels()); }

}  // namespace spatialmamba
