#include "model/ops/class_confidence_cuda.h"

#include <stdexcept>

#include "model/ops/kernel_math.h"

namespace spatialmamba {
namespace {

constexpr int kWarps = 8;

struct ConfidenceParams {
  DeviceLevel level;
  const float* logits;
  int64_t stride;
  int classes;
  uint8_t* confidence;
  int* not_finite;
};

__device__ __forceinline__ float WarpMax(float v) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    v = fmaxf(v, __shfl_xor_sync(0xFFFFFFFF, v, distance));
  }
  return v;
}

// Grid: tokens, one a warp; the lanes share the classes.
__global__ void __launch_bounds__(kWarps * 32) ConfidenceKernel(ConfidenceParams p) {
  WaitForPreviousKernel();
  const int token = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  if (token >= p.level.counts[kTokenCount]) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float* logits = p.logits + token * p.stride;
  float best = -INFINITY;
  float zeros = 0;  // NaN once there was a NaN or an infinity
  for (int c = lane; c < p.classes; c += 32) {
    best = fmaxf(best, logits[c]);
    zeros += __fmul_rn(logits[c], 0.0f);
  }
  best = WarpMax(best);
  float sum = 0;
  for (int c = lane; c < p.classes; c += 32) sum += __expf(logits[c] - best);
  sum = WarpSum(sum);
  const bool finite = __all_sync(0xFFFFFFFF, zeros == 0) != 0;
  if (lane != 0) return;
  // The best class's own term is exp(0).
  p.confidence[token] = static_cast<uint8_t>(finite ? fminf(255.0f / sum + 0.5f, 255.0f) : 0.0f);
  if (!finite) {
    atomicMax(p.not_finite + ImageOfToken(p.level.spans, p.level.counts[kImageCount], token), 1);
  }
}

}  // namespace

void ClassConfidenceCuda(const DeviceMap& logits, const DeviceLevel& level, uint8_t* confidence,
                         int* not_finite, CUstream_st* stream) {
  if (logits.type != DeviceType::kFloat32 || logits.channels < 1) {
    throw std::invalid_argument("ClassConfidenceCuda: logits must be fp32");
  }
  ConfidenceParams p = {};
  p.level = level;
  p.logits = static_cast<const float*>(logits.data);
  p.stride = logits.stride;
  p.classes = logits.channels;
  p.confidence = confidence;
  p.not_finite = not_finite;
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>((level.tokens + kWarps - 1) / kWarps));
  config.block = dim3(kWarps * 32);
  config.stream = stream;
  Launch("class_confidence", &ConfidenceKernel, config, p);
}

}  // namespace spatialmamba
