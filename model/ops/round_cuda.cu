#include "model/ops/round_cuda.h"

#include <stdexcept>

#include "model/ops/kernel_math.h"

namespace spatialmamba {
namespace {

constexpr int kThreads = 256;

struct RoundParams {
  const float* from;
  int from_stride;
  __nv_bfloat16* to;
  int to_stride;
  const int* rows;
  int pairs;  // of a row
};

// One pair a thread.
__global__ void __launch_bounds__(kThreads) RoundKernel(RoundParams p) {
  WaitForPreviousKernel();
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t row = index / p.pairs;
  if (row >= *p.rows) return;
  const auto channel = static_cast<int>(index - row * p.pairs) * 2;
  StorePair(LoadPair(p.from + row * p.from_stride + channel), p.to + row * p.to_stride + channel);
}

}  // namespace

void RoundCuda(const DeviceMap& from, const int* rows, int row_capacity, const DeviceMap& to,
               CUstream_st* stream) {
  if (from.type != DeviceType::kFloat32 || to.type != DeviceType::kBfloat16 ||
      from.channels != to.channels || from.channels % 2 != 0) {
    throw std::invalid_argument("round: fp32 to bf16, of the same even number of channels");
  }
  const RoundParams p = {static_cast<const float*>(from.data),
                         from.stride,
                         static_cast<__nv_bfloat16*>(to.data),
                         to.stride,
                         rows,
                         from.channels / 2};
  const int64_t threads = static_cast<int64_t>(row_capacity) * p.pairs;
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads));
  config.block = dim3(kThreads);
  config.stream = stream;
  Launch("round", &RoundKernel, config, p);
}

}  // namespace spatialmamba
