#pragma once

#include "model/ops/device_batch.h"
#include "model/ops/epilogue.h"

struct CUstream_st;

namespace spatialmamba {

// A linear layer, or a dense 3x3 convolution, on the rows of a ragged map:
//   out[i, n] = activation(sum_k x[i, k] weights[n, k] + bias[n]) + residual[i, n]
// x and weights have one type (bf16: tensor cores; fp32: no TF32), out and residual that or fp32;
// sums are fp32. The sum runs from the bias over k upwards in one accumulator for each element,
// whatever tile of the output it is computed in, so that a row has the same bits whatever the
// number of rows and its position among them. `out` may be the residual, but not overlap x. No
// kernel may write the weights or the bias: they are read while the previous one may still run.
struct DeviceGemm {
  DeviceMap x;                    // [rows, inputs]; of a convolution [tokens of `from`, inputs / 9]
  const void* weights = nullptr;  // [outputs, weight_stride], zeros past `inputs`; aligned to 16
  int inputs = 0;                 // a multiple of 8
  int outputs = 0;
  int weight_stride = 0;        // elements, a multiple of 8, at least `inputs`
  const float* bias = nullptr;  // [outputs]; null: none
  Activation activation = Activation::kNone;
  DeviceMap residual;         // data null: none
  DeviceMap out;              // [rows, outputs]
  const int* rows = nullptr;  // device memory: how many rows this batch has
  int row_capacity = 0;       // at least that; the grid is sized for it

  // A convolution with zero padding of one and a stride of `step` (1, 2): `inputs` is 9 times the
  // channels (a multiple of 8), in the order row, column, channel; rows are the tokens of `to`, and
  // x those of `from`. step 0: no convolution.
  int step = 0;
  DeviceLevel from = {};
  DeviceLevel to = {};
};

// Throws std::invalid_argument if strides, types or alignment do not fit, std::runtime_error if
// CUDA refuses the launch.
void GemmCuda(const DeviceGemm& gemm, CUstream_st* stream);

}  // namespace spatialmamba
