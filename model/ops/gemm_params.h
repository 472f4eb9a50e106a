#pragma once

#include <cstdint>

#include "model/ops/context.h"
#include "model/ops/epilogue.h"
#include "model/ops/packed_matrix.h"

namespace spatialmamba {

// out[rows, outputs] = epilogue(x[rows, inputs] W^T). Strides in elements.
struct GemmParams {
  const float* x = nullptr;  // null: `staging` holds it already, as a packed_out
  int64_t x_stride = 0;
  int64_t rows = 0;
  const PackedMatrix* weights = nullptr;
  float* out = nullptr;
  int64_t out_stride = 0;
  Epilogue epilogue;
  // For bf16 weights: room for rows * inputs values, inputs rounded up to an even number, aligned
  // to 64 bytes. Overlaps nothing else.
  float* staging = nullptr;
  // Of bf16 weights with an even number of outputs and no residual, in place of out: the rounded
  // output in the form that the next GEMM with bf16 weights stages, of the same size.
  float* packed_out = nullptr;
};

// Whether the rounded inputs of that many rows fit into the staging memory of a worker.
inline bool FitsStaging(int64_t rows, int64_t inputs) {
  return rows * (inputs + inputs % 2) <= Context::kStagingFloats;
}

// A single-threaded piece of it, of all rows and the weight panels [first_panel, last_panel), for
// ops that run it inside a body of their own.
void GemmCpu(const GemmParams& params, int64_t first_panel, int64_t last_panel);

inline void GemmCpu(const GemmParams& params) { GemmCpu(params, 0, params.weights->panels()); }

}  // namespace spatialmamba
