#include "model/ops/box_lists_cuda.h"

#include <stdexcept>

#include "model/ops/block_nms.h"

namespace spatialmamba {
namespace {

constexpr int kNmsThreads = 1024;
constexpr int kMergeThreads = 256;
constexpr int kPackThreads = 256;
constexpr unsigned kWholeWarp = 0xFFFFFFFF;

struct SuppressShared {
  NmsScratch nms;
  DeviceBox boxes[kMostNmsBoxes];
};

// Grid: groups, images. Shared memory: SuppressShared. A thread for each box, so that all are read
// before one is written.
__global__ void __launch_bounds__(kNmsThreads, 1)
    SuppressKernel(DeviceBoxLists lists, const int* image_count, const float* largest,
                   float overlap) {
  WaitForPreviousKernel();
  const int group = static_cast<int>(blockIdx.x);
  const int image = static_cast<int>(blockIdx.y);
  if (image >= *image_count) return;
  const int thread = static_cast<int>(threadIdx.x);
  SuppressShared* s = SharedMemory<SuppressShared>();
  float most = 0;
  for (int i = 0; i < lists.groups; ++i) most = fmaxf(most, largest[image * lists.groups + i]);
  const int list = image * lists.groups + group;
  const int count = lists.counts[list];
  uint64_t* keys = lists.keys + static_cast<int64_t>(list) * lists.capacity;
  DeviceBox* boxes = lists.boxes + static_cast<int64_t>(list) * lists.capacity;
  if (thread < count) s->boxes[thread] = ShiftedBox(boxes[thread], group, most);
  __syncthreads();
  const int kept = BlockNms(s->boxes, count, overlap, count, &s->nms);
  uint64_t key = 0;
  DeviceBox box = {0, 0, 0, 0};
  if (thread < kept) {
    key = keys[s->nms.kept[thread]];
    box = boxes[s->nms.kept[thread]];
  }
  __syncthreads();
  if (thread < kept) {
    keys[thread] = key;
    boxes[thread] = box;
  }
  if (thread == 0) lists.counts[list] = kept;
}

// How many keys of a list are better than this one.
__device__ int CountBetter(const uint64_t* keys, int count, uint64_t key) {
  int first = 0;
  while (count > 0) {
    const int half = count / 2;
    if (keys[first + half] < key) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

// A box's place among all of its image is the number of better ones in all lists. kLanes
// neighbouring threads share the lists for one box. Grid: groups, images.
template <int kLanes>
__global__ void __launch_bounds__(kMergeThreads) MergeKernel(MergeParams p) {
  WaitForPreviousKernel();
  const int image = static_cast<int>(blockIdx.y);
  if (image >= *p.image_count) return;
  const int groups = p.lists.groups;
  const int group = static_cast<int>(blockIdx.x);
  const int* counts = p.lists.counts + static_cast<int64_t>(image) * groups;
  const int64_t first_list = static_cast<int64_t>(image) * groups;
  int limit = p.errors[image] != kDetectFine ? 0 : p.limit;
  if (p.queries != nullptr) limit = min(limit, p.queries[image].max_detections);
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  if (group == 0 && threadIdx.x == 0) {
    int total = 0;
    for (int i = 0; i < groups && total < limit; ++i) total += counts[i];
    p.counts[image] = min(total, limit);
  }
  const int own = min(counts[group], limit);
  const int64_t own_list = (first_list + group) * p.lists.capacity;
  const int at_once = kMergeThreads / kLanes;
  for (int first = 0; first < own; first += at_once) {  // whole warps stay together
    const int i = first + static_cast<int>(threadIdx.x) / kLanes;
    const uint64_t key = i < own ? p.lists.keys[own_list + i] : 0;
    int place = 0;
    for (int other = lane; other < groups && i < own; other += kLanes) {
      place +=
          CountBetter(p.lists.keys + (first_list + other) * p.lists.capacity, counts[other], key);
    }
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
      place += __shfl_xor_sync(kWholeWarp, place, distance);
    }
    if (lane != 0 || i >= own || place >= limit) continue;
    const int64_t to = static_cast<int64_t>(image) * p.limit + place;
    p.boxes[to] = p.lists.boxes[own_list + i];
    if (p.scores != nullptr) p.scores[to] = ScoreOfKey(key);
    if (p.labels != nullptr) p.labels[to] = group;
  }
}

__device__ int CountOf(const PackParams& p, int image) {
  return p.queries != nullptr && p.queries[image].masks == 0 ? 0 : p.counts[image];
}

// Grid: images. The last image's block knows the total.
__global__ void __launch_bounds__(kPackThreads) PackKernel(PackParams p) {
  WaitForPreviousKernel();
  const int images = *p.image_count;
  const int image = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  if (p.spans != nullptr && image == 0) {
    for (int i = thread; i < p.rois.piece_capacity; i += kPackThreads) {
      p.spans[i] = {i * p.side * p.side, p.side, p.side};
    }
  }
  if (image >= images) return;
  int first = 0;
  for (int i = thread % 32; i < image; i += 32) first += CountOf(p, i);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    first += __shfl_xor_sync(kWholeWarp, first, distance);
  }
  const int count = CountOf(p, image);
  for (int i = thread; i < count; i += kPackThreads) {
    const int64_t from = static_cast<int64_t>(image) * p.limit + i;
    p.rois.boxes[first + i] = p.boxes[from];
    p.rois.images[first + i] = image;
    if (p.labels != nullptr) p.rois.labels[first + i] = p.labels[from];
  }
  if (thread == 0) p.rois.first[image] = first;
  if (image + 1 < images) return;
  const int room = p.rois.piece_capacity;
  for (int piece = thread; piece * room < p.rois.capacity; piece += kPackThreads) {
    const int rois = max(0, min(first + count - piece * room, room));
    int* counts = p.rois.piece_counts + piece * kDeviceCounts;
    counts[kImageCount] = rois;
    counts[kTokenCount] = rois * p.side * p.side;
    counts[kTileCount] = 0;
  }
}

LaunchConfig Config(int x, int y, int threads, CUstream_st* stream) {
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(x), static_cast<unsigned>(y));
  config.block = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  return config;
}

}  // namespace

void SuppressListsCuda(const DeviceBoxLists& lists, const int* image_count, const float* largest,
                       float overlap, CUstream_st* stream) {
  if (lists.capacity > kMostNmsBoxes) {
    throw std::invalid_argument("SuppressListsCuda: a list may be too long");
  }
  LaunchConfig config = Config(lists.groups, lists.images, kNmsThreads, stream);
  config.shared_bytes = sizeof(SuppressShared);
  Launch("suppress_lists", &SuppressKernel, config, lists, image_count, largest, overlap);
}

void MergeListsCuda(const MergeParams& params, CUstream_st* stream) {
  const DeviceBoxLists& lists = params.lists;
  const LaunchConfig config = Config(lists.groups, lists.images, kMergeThreads, stream);
  if (lists.groups <= 8) {
    Launch("merge_lists", &MergeKernel<1>, config, params);
  } else {
    Launch("merge_lists", &MergeKernel<32>, config, params);
  }
}

void PackRoisCuda(const PackParams& params, CUstream_st* stream) {
  if (params.rois.capacity != params.images * params.limit || params.rois.piece_capacity < 1) {
    throw std::invalid_argument("PackRoisCuda: the output has another capacity");
  }
  Launch("pack_rois", &PackKernel, Config(params.images, 1, kPackThreads, stream), params);
}

}  // namespace spatialmamba
