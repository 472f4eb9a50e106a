#include "model/ops/layer_norm_cuda.h"

#include <stdexcept>

#include "model/ops/kernel_math.h"

namespace spatialmamba {
namespace {

constexpr int kWarps = 8;

// Mean and 1 / standard deviation of a row that a warp reads, lane l the pairs l, l + 32, ...
struct Moments {
  float mean;
  float inverse;
};

template <typename T>
__device__ __forceinline__ Moments RowMoments(const T* row, int channels, int lane) {
  float sum = 0;
  for (int c = lane * 2; c < channels; c += 64) {
    const float2 v = LoadPair(row + c);
    sum += v.x + v.y;
  }
  const float mean = WarpSum(sum) / static_cast<float>(channels);
  float squares = 0;
  for (int c = lane * 2; c < channels; c += 64) {
    const float2 v = LoadPair(row + c);
    squares += (v.x - mean) * (v.x - mean) + (v.y - mean) * (v.y - mean);
  }
  return {mean, rsqrtf(WarpSum(squares) / static_cast<float>(channels) + 1e-5f)};
}

template <typename From, typename To>
struct NormParams {
  const From* x;
  int x_stride;
  const float* gain;
  const float* bias;
  const int* rows;
  To* out;
  int out_stride;
  int channels;
};

// One warp a row.
template <typename From, typename To>
__global__ void __launch_bounds__(kWarps * 32) NormKernel(NormParams<From, To> p) {
  WaitForPreviousKernel();
  const int row = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  if (row >= *p.rows) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const From* x = p.x + static_cast<int64_t>(row) * p.x_stride;
  To* out = p.out + static_cast<int64_t>(row) * p.out_stride;
  const Moments moments = RowMoments(x, p.channels, lane);
  for (int c = lane * 2; c < p.channels; c += 64) {
    const float2 v = LoadPair(x + c);
    const float2 gain = LoadPair(p.gain + c);
    const float2 bias = LoadPair(p.bias + c);
    StorePair(make_float2(fmaf((v.x - moments.mean) * moments.inverse, gain.x, bias.x),
                          fmaf((v.y - moments.mean) * moments.inverse, gain.y, bias.y)),
              out + c);
  }
}

template <typename From, typename To>
struct NormMeanParams {
  DeviceLevel level;
  const From* x;
  int x_stride;
  const float* gain;
  const float* bias;
  To* out;
  int out_stride;
  int channels;
};

// One block an image; warp w takes its tokens w, w + kWarps, ... and sums their normalised channels
// in shared memory of its own, [kWarps][channels]; then the warps' sums are added in order. So the
// order of sums depends on nothing but the image's size.
template <typename From, typename To>
__global__ void __launch_bounds__(kWarps * 32) NormMeanKernel(NormMeanParams<From, To> p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.x) >= p.level.counts[kImageCount]) return;
  const DeviceSpan span = p.level.spans[blockIdx.x];
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int tokens = span.height * span.width;
  float* sums = SharedMemory<float>();
  float* own = sums + warp * p.channels;
  for (int c = lane * 2; c < p.channels; c += 64) StorePair(make_float2(0, 0), own + c);
  for (int t = warp; t < tokens; t += kWarps) {
    const From* x = p.x + (span.offset + static_cast<int64_t>(t)) * p.x_stride;
    const Moments moments = RowMoments(x, p.channels, lane);
    for (int c = lane * 2; c < p.channels; c += 64) {
      const float2 v = LoadPair(x + c);
      const float2 sum = LoadPair(own + c);
      StorePair(make_float2(sum.x + (v.x - moments.mean) * moments.inverse,
                            sum.y + (v.y - moments.mean) * moments.inverse),
                own + c);
    }
  }
  __syncthreads();
  const float share = 1.0f / static_cast<float>(tokens);
  for (int c = static_cast<int>(threadIdx.x); c < p.channels; c += kWarps * 32) {
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += sums[w * p.channels + c];
    FromFloat(fmaf(sum * share, p.gain[c], p.bias[c]),
              p.out + static_cast<int64_t>(blockIdx.x) * p.out_stride + c);
  }
}

template <typename From, typename To>
void LaunchNorm(const DeviceMap& x, const float* gain, const float* bias, const int* rows,
                int row_capacity, const DeviceMap& out, CUstream_st* stream) {
  const NormParams<From, To> p = {
      static_cast<const From*>(x.data), x.stride,   gain,      bias, rows,
      static_cast<To*>(out.data),       out.stride, x.channels};
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>((row_capacity + kWarps - 1) / kWarps));
  config.block = dim3(kWarps * 32);
  config.stream = stream;
  Launch("layer_norm", &NormKernel<From, To>, config, p);
}

template <typename From, typename To>
void LaunchNormMean(const DeviceMap& x, const DeviceLevel& level, const float* gain,
                    const float* bias, const DeviceMap& out, CUstream_st* stream) {
  const NormMeanParams<From, To> p = {
      level, static_cast<const From*>(x.data), x.stride,   gain,
      bias,  static_cast<To*>(out.data),       out.stride, x.channels};
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(level.images));
  config.block = dim3(kWarps * 32);
  config.shared_bytes = sizeof(float) * kWarps * static_cast<size_t>(x.channels);
  config.stream = stream;
  Launch("layer_norm_mean", &NormMeanKernel<From, To>, config, p);
}

void Check(const DeviceMap& x, const DeviceMap& out) {
  if (x.channels != out.channels || x.channels < 2 || x.channels % 2 != 0) {
    throw std::invalid_argument("layer norm: x and out must have the same even channels");
  }
}

bool IsFloat(const DeviceMap& map) { return map.type == DeviceType::kFloat32; }

}  // namespace

void LayerNormCuda(const DeviceMap& x, const float* gain, const float* bias, const int* rows,
                   int row_capacity, const DeviceMap& out, CUstream_st* stream) {
  Check(x, out);
  using Half = __nv_bfloat16;
  const auto launch = IsFloat(x)
                          ? (IsFloat(out) ? &LaunchNorm<float, float> : &LaunchNorm<float, Half>)
                          : (IsFloat(out) ? &LaunchNorm<Half, float> : &LaunchNorm<Half, Half>);
  launch(x, gain, bias, rows, row_capacity, out, stream);
}

void LayerNormMeanCuda(const DeviceMap& x, const DeviceLevel& level, const float* gain,
                       const float* bias, const DeviceMap& out, CUstream_st* stream) {
  Check(x, out);
  using Half = __nv_bfloat16;
  const auto launch =
      IsFloat(x) ? (IsFloat(out) ? &LaunchNormMean<float, float> : &LaunchNormMean<float, Half>)
                 : (IsFloat(out) ? &LaunchNormMean<Half, float> : &LaunchNormMean<Half, Half>);
  launch(x, level, gain, bias, out, stream);
}

}  // namespace spatialmamba
