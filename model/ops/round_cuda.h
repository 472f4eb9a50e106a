#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// to = from rounded to bf16, to nearest even, row by row. `from` is fp32, `to` bf16, both of the
// same even number of channels; `rows` in device memory says how many rows there are, at most
// `row_capacity`. Throws std::invalid_argument if types or sizes do not fit, std::runtime_error if
// CUDA refuses the launch.
void RoundCuda(const DeviceMap& from, const int* rows, int row_capacity, const DeviceMap& to,
               CUstream_st* stream);

}  // namespace spatialmamba
