#include "model/ops/class_boxes_cuda.h"

#include <stdexcept>

#include "model/ops/block_nms.h"
#include "model/ops/block_sort.h"

namespace spatialmamba {
namespace {

constexpr int kScoreThreads = 256;
constexpr int kClassThreads = 256;
constexpr unsigned kWholeWarp = 0xFFFFFFFF;
constexpr float kCentreScale = 0.1f;
constexpr float kExtentScale = 0.2f;

struct ClassShared {
  uint64_t keys[kMostNmsBoxes];
  DeviceBox boxes[kMostNmsBoxes];  // shifted
  NmsScratch nms;
  int count;
};

__device__ __forceinline__ const float* RowOf(const ClassBoxParams& p, int roi) {
  return static_cast<const float*>(p.predictions.data) +
         static_cast<int64_t>(roi) * p.predictions.stride;
}

__device__ __forceinline__ int RoisOfImage(const ClassBoxParams& p) {
  return p.rois.capacity / p.images;
}

__device__ __forceinline__ DeviceBox BoxOfClass(const ClassBoxParams& p, int roi, int label,
                                                const DeviceDetectQuery& query) {
  const float4 deltas = *reinterpret_cast<const float4*>(RowOf(p, roi) + 4 * label);
  return DecodedBox(p.rois.boxes[roi], deltas,
                    {kCentreScale, kExtentScale, query.height, query.width});
}

// Whether all outputs of a row are finite numbers; the same for all lanes.
__device__ __forceinline__ bool RowIsFinite(const float* row, int count, int lane) {
  bool finite = true;
  for (int i = lane; i < count; i += 32) finite = finite && IsFinite(row[i]);
  return __all_sync(kWholeWarp, finite) != 0;
}

struct Softmax {
  float largest;
  double total;
};

__device__ __forceinline__ Softmax SoftmaxOf(const float* logits, int count, int lane) {
  float largest = logits[0];
  for (int i = lane; i < count; i += 32) largest = fmaxf(largest, logits[i]);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, distance));
  }
  double total = 0;
  for (int i = lane; i < count; i += 32) {
    total += static_cast<double>(expf(__fsub_rn(logits[i], largest)));
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    total += __shfl_xor_sync(kWholeWarp, total, distance);
  }
  return {largest, total};
}

// The probabilities of one proposal, by one warp.
__global__ void __launch_bounds__(kScoreThreads) ClassScoresKernel(ClassBoxParams p) {
  WaitForPreviousKernel();
  const int roi = static_cast<int>(blockIdx.x * (kScoreThreads / 32) + threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int last_image = *p.image_count - 1;
  if (roi >= p.rois.first[last_image] + p.roi_counts[last_image]) return;
  const int image = p.rois.images[roi];
  const float* row = RowOf(p, roi);
  if (!RowIsFinite(row, 5 * p.classes + 1, lane)) {
    if (lane == 0) atomicMax(&p.errors[image], static_cast<int>(kBadBoxOutput));
    return;
  }
  const float* logits = row + 4 * p.classes;
  const Softmax softmax = SoftmaxOf(logits, p.classes + 1, lane);
  const DeviceDetectQuery query = p.queries[image];
  const unsigned* wanted = p.wanted + static_cast<int64_t>(image) * ((p.classes + 31) / 32);
  float* scores = p.scores + static_cast<int64_t>(image) * p.classes * RoisOfImage(p) +
                  (roi - p.rois.first[image]);
  float largest = 0;
  for (int label = lane; label < p.classes; label += 32) {
    const double part = static_cast<double>(expf(__fsub_rn(logits[label], softmax.largest)));
    const float score = static_cast<float>(part / softmax.total);
    const bool found = score > query.score_threshold && (wanted[label / 32] >> label % 32 & 1) != 0;
    scores[static_cast<int64_t>(label) * RoisOfImage(p)] = found ? score : -1.0f;
    if (found) largest = fmaxf(largest, LargestCoordinate(BoxOfClass(p, roi, label, query)));
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, distance));
  }
  // Bits of floats that are not negative are in the order of their values.
  if (lane == 0) atomicMax(&p.largest[image], static_cast<int>(__float_as_uint(largest)));
}

// The keys of a class's candidates, sorted; returns how many.
__device__ int Candidates(const ClassBoxParams& p, int image, int label, ClassShared* s) {
  const int proposals = p.errors[image] == kDetectFine ? p.roi_counts[image] : 0;
  const float* scores =
      p.scores + (static_cast<int64_t>(image) * p.classes + label) * RoisOfImage(p);
  if (threadIdx.x == 0) s->count = 0;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < proposals; i += kClassThreads) {
    const float score = scores[i];
    if (score < 0) continue;
    s->keys[atomicAdd(&s->count, 1)] = BoxKey(score, static_cast<unsigned>(i * p.classes + label));
  }
  __syncthreads();
  const int count = s->count;
  const int padded = PowerOfTwoFrom(count);
  for (int i = count + static_cast<int>(threadIdx.x); i < padded; i += kClassThreads) {
    s->keys[i] = ~uint64_t{0};
  }
  if (count > 1) BlockSort(s->keys, padded);
  return count;
}

// Grid: classes, images. Shared memory: ClassShared.
__global__ void __launch_bounds__(kClassThreads) ClassNmsKernel(ClassBoxParams p) {
  WaitForPreviousKernel();
  const int label = static_cast<int>(blockIdx.x);
  const int image = static_cast<int>(blockIdx.y);
  if (image >= *p.image_count) return;
  const int thread = static_cast<int>(threadIdx.x);
  ClassShared* s = SharedMemory<ClassShared>();
  const int list = image * p.classes + label;
  const int count = Candidates(p, image, label, s);
  if (count == 0) {
    if (thread == 0) p.lists.counts[list] = 0;
    return;
  }
  const DeviceDetectQuery query = p.queries[image];
  const int first = p.rois.first[image];
  const float largest = __uint_as_float(static_cast<unsigned>(p.largest[image]));
  for (int i = thread; i < count; i += kClassThreads) {
    const int roi = first + static_cast<int>(PlaceOfKey(s->keys[i])) / p.classes;
    s->boxes[i] = ShiftedBox(BoxOfClass(p, roi, label, query), label, largest);
  }
  __syncthreads();
  const int limit = min(query.max_detections, p.lists.capacity);
  const int kept = BlockNms(s->boxes, count, query.overlap, limit, &s->nms);
  for (int i = thread; i < kept; i += kClassThreads) {
    const uint64_t key = s->keys[s->nms.kept[i]];
    const int64_t to = static_cast<int64_t>(list) * p.lists.capacity + i;
    p.lists.keys[to] = key;
    p.lists.boxes[to] =
        BoxOfClass(p, first + static_cast<int>(PlaceOfKey(key)) / p.classes, label, query);
  }
  if (thread == 0) p.lists.counts[list] = kept;
}

void Check(const ClassBoxParams& p) {
  if (p.images < 1 || p.rois.capacity % p.images != 0 ||
      p.rois.capacity / p.images > kMostNmsBoxes) {
    throw std::invalid_argument("SelectClassBoxesCuda: too many proposals of an image");
  }
  if (p.predictions.type != DeviceType::kFloat32 || p.predictions.channels != 5 * p.classes + 1 ||
      p.predictions.stride % 4 != 0 || p.lists.groups != p.classes || p.lists.images != p.images) {
    throw std::invalid_argument("SelectClassBoxesCuda: predictions or lists of another shape");
  }
}

}  // namespace

void SelectClassBoxesCuda(const ClassBoxParams& params, CUstream_st* stream) {
  Check(params);
  constexpr int kRowsOfBlock = kScoreThreads / 32;
  LaunchConfig scores;
  scores.grid =
      dim3(static_cast<unsigned>((params.rois.capacity + kRowsOfBlock - 1) / kRowsOfBlock));
  scores.block = dim3(kScoreThreads);
  scores.stream = stream;
  Launch("class_scores", &ClassScoresKernel, scores, params);
  LaunchConfig nms;
  nms.grid = dim3(static_cast<unsigned>(params.classes), static_cast<unsigned>(params.images));
  nms.block = dim3(kClassThreads);
  nms.shared_bytes = sizeof(ClassShared);
  nms.stream = stream;
  Launch("class_nms", &ClassNmsKernel, nms, params);
}

}  // namespace spatialmamba
