#include "model/ops/proposals_cuda.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/block_sort.h"
#include "model/ops/box_math.h"
#include "model/ops/kernel_math.h"

namespace spatialmamba {
namespace {

constexpr int kScoreThreads = 256;
constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / 32;
constexpr int kLogits = 4 * kPixelAnchors;  // where they begin in a row

// A score is at most 1, so that its bits fit into three digits; each thread looks after one value
// of a digit.
constexpr int kDigitBits = 10;
constexpr int kScoreBits = 3 * kDigitBits;
static_assert(1 << kDigitBits == kSelectThreads, "a thread for each value of a digit");
static_assert(kMostProposals <= kSelectThreads, "a thread for each proposal");

struct SelectShared {
  uint64_t keys[kSelectThreads];
  DeviceBox boxes[kSelectThreads];
  int histogram[kSelectThreads];
  int anchors[kSelectThreads];  // that are selected, rising
  int sums[kSelectWarps];
  int equal_sums[kSelectWarps];
  float largest[kSelectWarps];
  int prefix;
  int remaining;
};

// Probabilities of all anchors. Grid: pixels of the largest level, levels.
__global__ void __launch_bounds__(kScoreThreads) ScoresKernel(ProposalParams p) {
  WaitForPreviousKernel();
  const ProposalLevel& own = p.levels[blockIdx.y];
  const int token = static_cast<int>(blockIdx.x) * kScoreThreads + static_cast<int>(threadIdx.x);
  if (token >= own.level.counts[kTokenCount]) return;
  const float* logits = static_cast<const float*>(own.predictions.data) +
                        static_cast<int64_t>(token) * own.predictions.stride + kLogits;
  float* scores = own.scores + static_cast<int64_t>(token) * kPixelAnchors;
  bool good = true;
#pragma unroll
  for (int a = 0; a < kPixelAnchors; ++a) {
    const float logit = logits[a];
    const bool finite = IsFinite(logit);
    good = good && finite;
    scores[a] = finite ? Sigmoid(logit) : 0.0f;
  }
  if (good) return;
  const int image = ImageOfToken(own.level.spans, own.level.counts[kImageCount], token);
  atomicMax(&p.errors[image], static_cast<int>(kBadProposalScore));
}

// The sum of v over the block's threads up to this one. Begins and ends with a barrier.
__device__ int SumUpToThread(int v, int* sums) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const int other = __shfl_up_sync(0xFFFFFFFF, v, static_cast<unsigned>(distance));
    if (lane >= distance) v += other;
  }
  __syncthreads();
  if (lane == 31) sums[warp] = v;
  __syncthreads();
  for (int i = 0; i < warp; ++i) v += sums[i];
  return v;
}

struct Threshold {
  unsigned bits;  // of the worst score that is selected
  int equal;      // how many that have it are
};

// Digit by digit from the highest on: counts the values of the digit among the scores that begin
// with what is known of the threshold. n > wanted.
__device__ Threshold FindThreshold(const float* scores, int n, int wanted, SelectShared* s) {
  const int thread = static_cast<int>(threadIdx.x);
  unsigned prefix = 0;
  for (int shift = kScoreBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    s->histogram[thread] = 0;
    __syncthreads();
#pragma unroll 4
    for (int i = thread; i < n; i += kSelectThreads) {
      const unsigned bits = __float_as_uint(scores[i]);
      if (bits >> shift >> kDigitBits != prefix) continue;
      atomicAdd(&s->histogram[bits >> shift & (kSelectThreads - 1)], 1);
    }
    __syncthreads();
    const int digit = kSelectThreads - 1 - thread;
    const int count = s->histogram[digit];
    const int upto = SumUpToThread(count, s->sums);  // scores with this digit or a larger one
    if (upto >= wanted && upto - count < wanted) {
      s->prefix = static_cast<int>(prefix << kDigitBits | static_cast<unsigned>(digit));
      s->remaining = wanted - (upto - count);
    }
    __syncthreads();
    prefix = static_cast<unsigned>(s->prefix);
    wanted = s->remaining;
  }
  return {prefix, wanted};
}

// A warp's part of the scores: whole runs of 32.
struct Part {
  int first;
  int last;
};

__device__ Part PartOfWarp(int n) {
  const int runs = (n + 31) / 32;
  const int of_warp = (runs + kSelectWarps - 1) / kSelectWarps * 32;
  const int first = static_cast<int>(threadIdx.x / 32) * of_warp;
  return {min(first, n), min(first + of_warp, n)};
}

// Indices of the scores above the threshold, and of the first of those that equal it, in rising
// order. Every warp counts its part, and then knows where its own go.
__device__ void Collect(const float* scores, int n, const Threshold& threshold, SelectShared* s) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const Part part = PartOfWarp(n);
  int above = 0;
  int equal = 0;
  for (int i = part.first + lane; i < part.last; i += 32) {
    const unsigned bits = __float_as_uint(scores[i]);
    above += bits > threshold.bits;
    equal += bits == threshold.bits;
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    above += __shfl_xor_sync(0xFFFFFFFF, above, distance);
    equal += __shfl_xor_sync(0xFFFFFFFF, equal, distance);
  }
  if (lane == 0) {
    s->sums[warp] = above;
    s->equal_sums[warp] = equal;
  }
  __syncthreads();
  above = 0;
  equal = 0;
  for (int i = 0; i < warp; ++i) {
    above += s->sums[i];
    equal += s->equal_sums[i];
  }
  const unsigned below = (1u << lane) - 1;
  for (int first = part.first; first < part.last; first += 32) {
    const int i = first + lane;
    const unsigned bits = i < part.last ? __float_as_uint(scores[i]) : 0;
    const bool is_above = i < part.last && bits > threshold.bits;
    const bool is_equal = i < part.last && bits == threshold.bits;
    const unsigned aboves = __ballot_sync(0xFFFFFFFF, is_above);
    const unsigned equals = __ballot_sync(0xFFFFFFFF, is_equal);
    const int equals_before = equal + __popc(equals & below);
    if (is_above || (is_equal && equals_before < threshold.equal)) {
      s->anchors[above + __popc(aboves & below) + min(equals_before, threshold.equal)] = i;
    }
    above += __popc(aboves);
    equal += __popc(equals);
  }
  __syncthreads();
}

// The largest v of the block, at least 0, in every thread. Begins and ends with a barrier.
__device__ float LargestOfBlock(float v, float* largest) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    v = fmaxf(v, __shfl_xor_sync(0xFFFFFFFF, v, distance));
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0;
  for (int i = 0; i < kSelectWarps; ++i) v = fmaxf(v, largest[i]);
  return v;
}

// The box of the anchor that the thread has, moved by its deltas; without an area if a delta is not
// a finite number.
__device__ DeviceBox ProposalBox(const ProposalParams& p, const ProposalLevel& own, int image,
                                 int anchor) {
  const DeviceSpan span = own.level.spans[image];
  const int pixel = anchor / kPixelAnchors;
  const int shape = anchor % kPixelAnchors;
  const float* row = static_cast<const float*>(own.predictions.data) +
                     (static_cast<int64_t>(span.offset) + pixel) * own.predictions.stride;
  const float4 deltas = *reinterpret_cast<const float4*>(row + 4 * shape);
  if (!IsFinite(deltas.x) || !IsFinite(deltas.y) || !IsFinite(deltas.z) || !IsFinite(deltas.w)) {
    atomicMax(&p.errors[image], static_cast<int>(kBadProposalBox));
    return {0, 0, 0, 0};
  }
  const DeviceDetectQuery query = p.queries[image];
  return DecodedBox(AnchorBox(pixel, shape, span.width, own.stride), deltas,
                    {1.0f, 1.0f, query.height, query.width});
}

// Grid: levels, images. Shared memory: SelectShared.
__global__ void __launch_bounds__(kSelectThreads, 1) SelectKernel(ProposalParams p) {
  WaitForPreviousKernel();
  const ProposalLevel& own = p.levels[blockIdx.x];
  const int image = static_cast<int>(blockIdx.y);
  if (image >= own.level.counts[kImageCount]) return;
  const int thread = static_cast<int>(threadIdx.x);
  SelectShared* s = SharedMemory<SelectShared>();
  const DeviceSpan span = own.level.spans[image];
  const float* scores = own.scores + static_cast<int64_t>(span.offset) * kPixelAnchors;
  const int n = span.height * span.width * kPixelAnchors;
  const int wanted = min(n, kMostProposals);
  if (n > wanted) {
    Collect(scores, n, FindThreshold(scores, n, wanted, s), s);
  } else {
    s->anchors[thread] = thread;
  }
  DeviceBox box = {0, 0, 0, 0};
  bool good = false;
  uint64_t key = ~uint64_t{0};  // behind all others
  if (thread < wanted) {
    const int anchor = s->anchors[thread];
    box = ProposalBox(p, own, image, anchor);
    good = box.right > box.left && box.bottom > box.top;
    if (good) {
      key = BoxKey(scores[anchor], blockIdx.x * kSelectThreads + threadIdx.x);
    }
  }
  s->keys[thread] = key;
  s->boxes[thread] = box;
  const float largest = LargestOfBlock(good ? LargestCoordinate(box) : 0.0f, s->largest);
  const int count = SumUpToThread(good ? 1 : 0, s->sums);
  BlockSort(s->keys, kSelectThreads);
  const int list = image * kProposalLevels + static_cast<int>(blockIdx.x);
  const uint64_t sorted = s->keys[thread];
  if (sorted != ~uint64_t{0}) {
    const int64_t place = static_cast<int64_t>(list) * kMostProposals + thread;
    p.lists.keys[place] = sorted;
    p.lists.boxes[place] = s->boxes[PlaceOfKey(sorted) % kSelectThreads];
  }
  if (thread == kSelectThreads - 1) {
    p.lists.counts[list] = count;
    p.largest[list] = largest;
  }
}

void Check(const ProposalParams& params) {
  if (params.lists.groups != kProposalLevels || params.lists.capacity != kMostProposals) {
    throw std::invalid_argument("proposals: the lists have other sizes");
  }
  for (const ProposalLevel& level : params.levels) {
    const DeviceMap& predictions = level.predictions;
    if (predictions.type != DeviceType::kFloat32 || predictions.channels != 5 * kPixelAnchors ||
        predictions.stride % 4 != 0 || level.level.images != params.lists.images) {
      throw std::invalid_argument("proposals: a level's predictions have another shape");
    }
  }
}

}  // namespace

void SelectProposalsCuda(const ProposalParams& params, CUstream_st* stream) {
  Check(params);
  int tokens = 0;
  for (const ProposalLevel& level : params.levels) tokens = std::max(tokens, level.level.tokens);
  LaunchConfig scores;
  scores.grid =
      dim3(static_cast<unsigned>((tokens + kScoreThreads - 1) / kScoreThreads), kProposalLevels);
  scores.block = dim3(kScoreThreads);
  scores.stream = stream;
  Launch("proposal_scores", &ScoresKernel, scores, params);
  LaunchConfig select;
  select.grid = dim3(kProposalLevels, static_cast<unsigned>(params.lists.images));
  select.block = dim3(kSelectThreads);
  select.shared_bytes = sizeof(SelectShared);
  select.stream = stream;
  Launch("proposal_select", &SelectKernel, select, params);
}

}  // namespace spatialmamba
