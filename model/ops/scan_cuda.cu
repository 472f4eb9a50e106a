#include "model/ops/scan_cuda.h"

#include <stdexcept>

#include "model/ops/kernel_math.h"

namespace spatialmamba {
namespace {

// A warp scans kChunk tokens of 64 channels, two a lane; a block kWarps chunks, a segment, at a
// time.
constexpr int kChunk = 16;
constexpr int kWarps = 8;
constexpr int kSegment = kChunk * kWarps;
constexpr int kChannels = 64;
constexpr int kMostCluster = 8;

template <typename T>
struct ScanKernelParams {
  DeviceLevel level;
  const T* x;
  int x_stride;
  const float* rbc;
  int rbc_stride;
  const float* step_weight;
  const float* step_bias;
  const float* decay;
  T* h;
  int h_stride;
  int rank;
  int channels;
};

// What a stretch of the sequence does to a lane's two states: state -> decay * state + end.
struct alignas(16) Carry {
  float2 decay;
  float2 end;
};

__device__ __forceinline__ float2 Applied(const Carry& carry, float2 state) {
  return make_float2(fmaf(carry.decay.x, state.x, carry.end.x),
                     fmaf(carry.decay.y, state.y, carry.end.y));
}

// `first`, then `second`.
__device__ __forceinline__ Carry Composed(const Carry& first, const Carry& second) {
  return {make_float2(first.decay.x * second.decay.x, first.decay.y * second.decay.y),
          Applied(second, first.end)};
}

__device__ __forceinline__ Carry NoCarry() { return {make_float2(1, 1), make_float2(0, 0)}; }

// log(1 + e) for 0 <= e <= 1, without losing the digits of a small e.
__device__ __forceinline__ float LogOfOnePlus(float e) {
  const float series = e * fmaf(e, fmaf(e, fmaf(e, -0.25f, 0.33333333f), -0.5f), 1.0f);
  return e < 0.03f ? series : __logf(1.0f + e);
}

// softplus, within a few units in the last place of fp32.
__device__ __forceinline__ float Step(float x) {
  return fmaxf(x, 0.0f) + LogOfOnePlus(__expf(-fabsf(x)));
}

// The rows of rbc of a chunk, as they lie, into the warp's shared memory [kChunk][rbc_stride]; rows
// past the last token become zeros.
template <typename T>
__device__ __forceinline__ void LoadRows(const ScanKernelParams<T>& p, int64_t token, int count,
                                         int lane, float* rows) {
  const int pieces = p.rbc_stride / 4;  // of a row
  const auto* from = reinterpret_cast<const float4*>(p.rbc + token * p.rbc_stride);
  auto* to = reinterpret_cast<float4*>(rows);
  for (int i = lane; i < kChunk * pieces; i += 32) {
    to[i] = i < count * pieces ? from[i] : make_float4(0, 0, 0, 0);
  }
}

// Adds kCount terms of W r, from the row k of W on, to the steps.
template <int kCount, typename T>
__device__ __forceinline__ void AddSteps(const ScanKernelParams<T>& p, const float* rows, int k,
                                         int channel, float2 (&steps)[kChunk]) {
  float2 weight[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    weight[i] = LoadPair(p.step_weight + (k + i) * p.channels + channel);
  }
#pragma unroll
  for (int t = 0; t < kChunk; ++t) {
    float r[kCount];
    if constexpr (kCount == 4) {
      const float4 four = *reinterpret_cast<const float4*>(rows + t * p.rbc_stride + k);
      r[0] = four.x, r[1] = four.y, r[2] = four.z, r[3] = four.w;
    } else {
      r[0] = rows[t * p.rbc_stride + k];
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      steps[t].x = fmaf(weight[i].x, r[i], steps[t].x);
      steps[t].y = fmaf(weight[i].y, r[i], steps[t].y);
    }
  }
}

// The steps dt of a chunk before their softplus: bias + W r.
template <typename T>
__device__ __forceinline__ void RawSteps(const ScanKernelParams<T>& p, const float* rows,
                                         int channel, float2 bias, float2 (&steps)[kChunk]) {
#pragma unroll
  for (int t = 0; t < kChunk; ++t) steps[t] = bias;
  int k = 0;
  for (; k + 4 <= p.rank; k += 4) AddSteps<4>(p, rows, k, channel, steps);
  for (; k < p.rank; ++k) AddSteps<1>(p, rows, k, channel, steps);
}

// A chunk from state 0: the state after each token, and the product of the decays up to it. Tokens
// past the last leave both as they are.
struct ChunkStates {
  float2 state[kChunk];
  float2 decay[kChunk];
};

// `raw` are the steps before their softplus, `b` each token's B, `stride` apart. What each token
// takes is computed first, all tokens side by side and without a branch: the recurrence then waits
// for nothing but itself.
template <typename T>
__device__ __forceinline__ void ScanChunk(const float2 (&raw)[kChunk], const float* b, int stride,
                                          const RawPair<T> (&x)[kChunk], float2 decay, int count,
                                          ChunkStates& to) {
#pragma unroll
  for (int t = 0; t < kChunk; ++t) {
    const bool inside = t < count;
    const float2 step = make_float2(Step(raw[t].x), Step(raw[t].y));
    const float2 value = x[t].value();
    const float of = b[t * stride];
    to.decay[t].x = inside ? __expf(decay.x * step.x) : 1.0f;
    to.decay[t].y = inside ? __expf(decay.y * step.y) : 1.0f;
    to.state[t].x = inside ? step.x * of * value.x : 0.0f;
    to.state[t].y = inside ? step.y * of * value.y : 0.0f;
  }
#pragma unroll
  for (int t = 1; t < kChunk; ++t) {
    to.state[t].x = fmaf(to.decay[t].x, to.state[t - 1].x, to.state[t].x);
    to.state[t].y = fmaf(to.decay[t].y, to.state[t - 1].y, to.state[t].y);
    to.decay[t].x *= to.decay[t - 1].x;
    to.decay[t].y *= to.decay[t - 1].y;
  }
}

// Shared memory of a block: the carries of its segments, one for each of two rounds, which the
// other blocks of the cluster read; those of its chunks, likewise; and each warp's rows of rbc.
struct Shared {
  Carry* segments;  // [2][32]
  Carry* chunks;    // [2][kWarps][32]
  float* rows;      // [kWarps][kChunk][rbc_stride]
  __device__ Shared()
      : segments(SharedMemory<Carry>()),
        chunks(segments + 2 * 32),
        rows(reinterpret_cast<float*>(chunks + 2 * kWarps * 32)) {}
};

size_t SharedBytes(int rbc_stride) {
  return (2 + 2 * kWarps) * 32 * sizeof(Carry) +
         static_cast<size_t>(kSegment * rbc_stride) * sizeof(float);
}

// What the chunks of the block's segment before this warp's come to, and all of them.
struct SegmentCarries {
  Carry before;
  Carry all;
};

__device__ __forceinline__ SegmentCarries FoldChunks(const Carry* chunks, int warp, int lane) {
  SegmentCarries fold{NoCarry(), NoCarry()};
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) fold.before = fold.all;
    fold.all = Composed(fold.all, chunks[w * 32 + lane]);
  }
  return fold;
}

// Grid: cluster * groups of 64 channels, images. The blocks of a cluster take the segments of an
// image in turns: in each round one segment a block.
template <typename T>
__global__ void __launch_bounds__(kWarps * 32, sizeof(T) == 2 ? 2 : 1)
    ScanKernel(ScanKernelParams<T> p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.y) >= p.level.counts[kImageCount]) return;  // the whole cluster
  const DeviceSpan span = p.level.spans[blockIdx.y];
  const Shared shared;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int rank = static_cast<int>(ClusterRank());
  const int blocks = static_cast<int>(ClusterSize());
  const int channel = static_cast<int>(blockIdx.x / ClusterSize()) * kChannels + lane * 2;
  const bool active = channel < p.channels;  // other lanes only keep the barriers company
  const int safe = active ? channel : 0;
  const float2 bias = LoadPair(p.step_bias + safe);
  const float2 decay = LoadPair(p.decay + safe);
  const int tokens = span.height * span.width;
  float2 state = make_float2(0, 0);  // before the round
  int parity = 0;
  for (int round = 0; round < tokens; round += blocks * kSegment, parity ^= 1) {
    const int begin = round + rank * kSegment;  // may be past the end: then an empty segment
    const int count = max(0, min(kChunk, tokens - begin - warp * kChunk));
    const int64_t token = span.offset + static_cast<int64_t>(begin) + warp * kChunk;
    RawPair<T> x[kChunk];
#pragma unroll
    for (int t = 0; t < kChunk; ++t) {
      x[t] = {};
      if (t < count)
        x[t] = LoadRaw(p.x + token * p.x_stride + safe + static_cast<int64_t>(p.x_stride) * t);
    }
    float* rows = shared.rows + warp * kChunk * p.rbc_stride;
    __syncwarp();  // the round before has read them
    LoadRows(p, token, count, lane, rows);
    __syncwarp();
    ChunkStates chunk;
    {
      float2 steps[kChunk];
      RawSteps(p, rows, safe, bias, steps);
      ScanChunk(steps, rows + p.rank, p.rbc_stride, x, decay, count, chunk);
    }
    Carry* chunks = shared.chunks + parity * kWarps * 32;
    chunks[warp * 32 + lane] = {chunk.decay[kChunk - 1], chunk.state[kChunk - 1]};
    __syncthreads();
    const SegmentCarries fold = FoldChunks(chunks, warp, lane);
    float2 before_segment = state;
    if (blocks == 1) {
      state = Applied(fold.all, state);
    } else {
      Carry* published = shared.segments + parity * 32 + lane;
      if (warp == 0) *published = fold.all;
      ClusterSync();
      for (int r = 0; r < blocks; ++r) {
        if (r == rank) before_segment = state;
        state = Applied(*MapSharedRank(published, static_cast<unsigned>(r)), state);
      }
    }
    const float2 before = Applied(fold.before, before_segment);
    T* h = p.h + token * p.h_stride + channel;
#pragma unroll
    for (int t = 0; t < kChunk; ++t) {
      const float2 to = make_float2(fmaf(chunk.decay[t].x, before.x, chunk.state[t].x),
                                    fmaf(chunk.decay[t].y, before.y, chunk.state[t].y));
      if (active && t < count) StorePair(to, h + static_cast<int64_t>(p.h_stride) * t);
    }
  }
  if (blocks > 1) ClusterSync();  // no block leaves while another reads its carries
}

// Blocks that share an image: enough to fill the device, no more than its segments.
unsigned ClusterOf(const DeviceLevel& level, int groups) {
  constexpr int kEnoughBlocks = 512;
  const int segments = (level.tokens / level.images + kSegment - 1) / kSegment;
  unsigned cluster = 1;
  while (cluster < kMostCluster && static_cast<int>(cluster) < segments &&
         level.images * groups * static_cast<int>(cluster) < kEnoughBlocks) {
    cluster *= 2;
  }
  return cluster;
}

template <typename T>
void LaunchScan(const DeviceMap& x, const DeviceMap& rbc, const DeviceLevel& level,
                const DeviceScan& weights, const DeviceMap& h, CUstream_st* stream) {
  ScanKernelParams<T> p;
  p.level = level;
  p.x = static_cast<const T*>(x.data);
  p.x_stride = x.stride;
  p.rbc = static_cast<const float*>(rbc.data);
  p.rbc_stride = rbc.stride;
  p.step_weight = weights.step_weight;
  p.step_bias = weights.step_bias;
  p.decay = weights.decay;
  p.h = static_cast<T*>(h.data);
  p.h_stride = h.stride;
  p.rank = weights.rank;
  p.channels = x.channels;
  const int groups = (x.channels + kChannels - 1) / kChannels;
  LaunchConfig config;
  config.cluster = SupportsClusters() ? ClusterOf(level, groups) : 1;
  config.grid =
      dim3(static_cast<unsigned>(groups) * config.cluster, static_cast<unsigned>(level.images));
  config.block = dim3(kWarps * 32);
  config.shared_bytes = SharedBytes(rbc.stride);
  config.stream = stream;
  Launch("scan", &ScanKernel<T>, config, p);
}

}  // namespace

void ScanCuda(const DeviceMap& x, const DeviceMap& rbc, const DeviceLevel& level,
              const DeviceScan& weights, const DeviceMap& h, CUstream_st* stream) {
  if (x.type != h.type || x.channels != h.channels || x.channels % 2 != 0) {
    throw std::invalid_argument("scan: h must have the type and the even channels of x");
  }
  if (rbc.type != DeviceType::kFloat32 || rbc.channels != weights.rank + 2 || rbc.stride % 4 != 0) {
    throw std::invalid_argument(
        "scan: rbc must be fp32 and hold rank + 2 channels in rows aligned to 16 bytes");
  }
  if (x.type == DeviceType::kFloat32) {
    LaunchScan<float>(x, rbc, level, weights, h, stream);
  } else {
    LaunchScan<__nv_bfloat16>(x, rbc, level, weights, h, stream);
  }
}

}  // namespace spatialmamba
