#include "model/ops/resize_argmax_cuda.h"

#include <stdexcept>

#include "model/ops/bilinear_sample.h"

namespace spatialmamba {
namespace {

constexpr int kBlock = 16;  // pixels along both sides of a block, one a thread
constexpr int kThreads = kBlock * kBlock;
constexpr int kWarps = kThreads / 32;

struct ArgmaxParams {
  const float* logits;
  int64_t stride;
  int classes;
  int from_height;
  int from_width;
  int between_height;
  int between_width;
  int to_height;
  int to_width;
  uint16_t* labels;
  uint32_t* class_pixels;
};

// Shared memory of a block. Behind it: a bit for each class that may win, in words of 32 classes.
struct Shared {
  DeviceTwoStep rows[kBlock];  // of the block's pixels; those past the edge repeat the last
  DeviceTwoStep columns[kBlock];
  float best[kWarps];
  int best_class[kWarps];
};

// The places along one axis that a block of pixels reads: all from the first to the last, unless
// the pixels lie so far apart that it is fewer to look at what each of them reads.
class ReadPlaces {
 public:
  __device__ explicit ReadPlaces(const DeviceTwoStep* samples) : samples_(samples) {
    first_ = samples[0].first;
    int last = first_;
    for (int i = 0; i < kBlock; ++i) last = max(last, samples[i].first + samples[i].used - 1);
    count_ = last - first_ + 1;
    apart_ = count_ > kBlock * kTwoStepTaps;
    if (apart_) count_ = kBlock * kTwoStepTaps;
  }

  __device__ int count() const { return count_; }
  __device__ int operator[](int i) const {
    if (!apart_) return first_ + i;
    const DeviceTwoStep& sample = samples_[i / kTwoStepTaps];
    return sample.first + min(i % kTwoStepTaps, sample.used - 1);
  }

 private:
  const DeviceTwoStep* samples_;
  int first_;
  int count_;
  bool apart_;
};

__device__ __forceinline__ const float* TokenAt(const ArgmaxParams& p, int row, int column) {
  return p.logits + (static_cast<int64_t>(row) * p.from_width + column) * p.stride;
}

__device__ __forceinline__ void TakeBetter(float logit, int own, float* best, int* best_class) {
  if (logit > *best || (logit == *best && own < *best_class)) {
    *best = logit;
    *best_class = own;
  }
}

// The best class of a token, the same in all threads.
__device__ __forceinline__ int BestClass(const ArgmaxParams& p, const float* token,
                                         Shared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  float best = -INFINITY;
  int best_class = 0;
  for (int c = thread; c < p.classes; c += kThreads) TakeBetter(token[c], c, &best, &best_class);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(0xFFFFFFFF, best, distance);
    const int other_class = __shfl_xor_sync(0xFFFFFFFF, best_class, distance);
    TakeBetter(other, other_class, &best, &best_class);
  }
  if (thread % 32 == 0) {
    shared.best[thread / 32] = best;
    shared.best_class[thread / 32] = best_class;
  }
  __syncthreads();
  best = shared.best[0];
  best_class = shared.best_class[0];
  for (int w = 1; w < kWarps; ++w) {
    TakeBetter(shared.best[w], shared.best_class[w], &best, &best_class);
  }
  return best_class;
}

// Whether class `c` may win in a pixel that reads those places: interpolation weights are not
// negative, so that it cannot where it is below another class in all of them.
__device__ __forceinline__ bool MayWin(const ArgmaxParams& p, const ReadPlaces& rows,
                                       const ReadPlaces& columns, int reference, int c) {
  float lead = -INFINITY;
  float magnitude = 0;
  for (int i = 0; i < rows.count(); ++i) {
    const float* row = TokenAt(p, rows[i], 0);
#pragma unroll 4
    for (int j = 0; j < columns.count(); ++j) {
      const float* token = row + columns[j] * p.stride;
      const float own = token[c];
      const float other = token[reference];
      lead = fmaxf(lead, own - other);
      magnitude = fmaxf(magnitude, fmaxf(fabsf(own), fabsf(other)));
    }
  }
  // Interpolating takes eight roundings, each at most 6e-8 of the largest logit, for both classes:
  // a class so little behind is not ruled out.
  return lead >= -4e-6f * magnitude;
}

// What one pixel reads.
struct PixelTaps {
  const float* rows[kTwoStepTaps];
  int64_t columns[kTwoStepTaps];
  float row_weights[kTwoStepTaps];
  float column_weights[kTwoStepTaps];
  int row_taps;
  int column_taps;
};

__device__ __forceinline__ PixelTaps TapsOf(const ArgmaxParams& p, const DeviceTwoStep& row,
                                            const DeviceTwoStep& column) {
  PixelTaps taps;
  taps.row_taps = row.used;
  taps.column_taps = column.used;
#pragma unroll
  for (int j = 0; j < kTwoStepTaps; ++j) {
    taps.rows[j] = TokenAt(p, min(row.first + j, p.from_height - 1), 0);
    taps.columns[j] = min(column.first + j, p.from_width - 1) * p.stride;
    taps.row_weights[j] = row.weights[j];
    taps.column_weights[j] = column.weights[j];
  }
  return taps;
}

// Along x, then along y, in the order of the CPU.
__device__ __forceinline__ float Interpolate(const PixelTaps& taps, int c) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kTwoStepTaps; ++i) {
    if (i >= taps.row_taps) break;
    float across = 0;
#pragma unroll
    for (int j = 0; j < kTwoStepTaps; ++j) {
      if (j >= taps.column_taps) break;
      across = fmaf(taps.rows[i][taps.columns[j] + c], taps.column_weights[j], across);
    }
    sum = fmaf(across, taps.row_weights[i], sum);
  }
  return sum;
}

// Adds up the labels of a warp's pixels, each of them once.
__device__ __forceinline__ void CountLabels(int label, bool inside, uint32_t* class_pixels) {
  unsigned left = __ballot_sync(0xFFFFFFFF, inside);
  while (left != 0) {
    const int leader = __ffs(static_cast<int>(left)) - 1;
    const int common = __shfl_sync(0xFFFFFFFF, label, leader);
    const unsigned same = __ballot_sync(0xFFFFFFFF, inside && label == common);
    if (static_cast<int>(threadIdx.x % 32) == leader) {
      atomicAdd(class_pixels + common, static_cast<uint32_t>(__popc(same)));
    }
    left &= ~same;
  }
}

// Grid: blocks of pixels, row by row. A thread first judges classes, then labels a pixel.
__global__ void __launch_bounds__(kThreads, 1) ResizeArgmaxKernel(ArgmaxParams p) {
  WaitForPreviousKernel();
  auto& shared = *SharedMemory<Shared>();
  auto* candidates = SharedMemory<unsigned>(sizeof(Shared));
  const int thread = static_cast<int>(threadIdx.x);
  const int across = (p.to_width - 1) / kBlock + 1;
  const int first_row = static_cast<int>(blockIdx.x) / across * kBlock;
  const int first_column = static_cast<int>(blockIdx.x) % across * kBlock;
  if (thread < kBlock) {
    FillTwoStep(p.from_height, p.between_height, p.to_height,
                min(first_row + thread, p.to_height - 1), &shared.rows[thread]);
  } else if (thread < 2 * kBlock) {
    const int i = thread - kBlock;
    FillTwoStep(p.from_width, p.between_width, p.to_width, min(first_column + i, p.to_width - 1),
                &shared.columns[i]);
  }
  __syncthreads();
  const ReadPlaces rows(shared.rows);
  const ReadPlaces columns(shared.columns);
  const float* centre = TokenAt(p, rows[rows.count() / 2], columns[columns.count() / 2]);
  const int reference = BestClass(p, centre, shared);
  const int words = (p.classes + 31) / 32;
  for (int word = thread / 32; word < words; word += kWarps) {
    const int c = word * 32 + thread % 32;
    const bool may_win = c < p.classes && MayWin(p, rows, columns, reference, c);
    const unsigned votes = __ballot_sync(0xFFFFFFFF, may_win);
    if (thread % 32 == 0) candidates[word] = votes;
  }
  __syncthreads();

  const int row = thread / kBlock;
  const int column = thread % kBlock;
  const PixelTaps taps = TapsOf(p, shared.rows[row], shared.columns[column]);
  float best = -INFINITY;
  int label = 0;
  for (int word = 0; word < words; ++word) {
    for (unsigned left = candidates[word]; left != 0; left &= left - 1) {
      const int c = word * 32 + __ffs(static_cast<int>(left)) - 1;
      const float logit = Interpolate(taps, c);
      if (logit > best) {  // classes come by rising index: the first of equals stays
        best = logit;
        label = c;
      }
    }
  }
  const int y = first_row + row;
  const int x = first_column + column;
  const bool inside = y < p.to_height && x < p.to_width;
  if (inside) p.labels[static_cast<int64_t>(y) * p.to_width + x] = static_cast<uint16_t>(label);
  CountLabels(label, inside, p.class_pixels);
}

unsigned Blocks(int pixels) { return static_cast<unsigned>((pixels - 1) / kBlock + 1); }

void Check(const DeviceResizeArgmax& image) {
  constexpr int kMostClasses = 65536;
  constexpr uint64_t kMostBlocks = 0x7FFFFFFF;  // of a grid
  const bool fits = image.logits.type == DeviceType::kFloat32 && image.logits.channels >= 1 &&
                    image.logits.channels <= kMostClasses && image.from_height >= 1 &&
                    image.from_width >= 1 && image.between_height >= image.from_height &&
                    image.between_width >= image.from_width && image.to_height >= 1 &&
                    image.to_width >= 1 &&
                    uint64_t{Blocks(image.to_height)} * Blocks(image.to_width) <= kMostBlocks;
  if (!fits) throw std::invalid_argument("ResizeArgmaxCuda: shapes do not fit");
}

}  // namespace

void ResizeArgmaxCuda(const DeviceResizeArgmax& image, CUstream_st* stream) {
  Check(image);
  ArgmaxParams p = {};
  p.logits = static_cast<const float*>(image.logits.data);
  p.stride = image.logits.stride;
  p.classes = image.logits.channels;
  p.from_height = image.from_height;
  p.from_width = image.from_width;
  p.between_height = image.between_height;
  p.between_width = image.between_width;
  p.to_height = image.to_height;
  p.to_width = image.to_width;
  p.labels = image.labels;
  p.class_pixels = image.class_pixels;
  const int words = (p.classes + 31) / 32;
  LaunchConfig config;
  config.grid = dim3(Blocks(image.to_width) * Blocks(image.to_height));
  config.block = dim3(kThreads);
  config.shared_bytes = sizeof(Shared) + sizeof(unsigned) * static_cast<size_t>(words);
  config.stream = stream;
  Launch("resize_argmax", &ResizeArgmaxKernel, config, p);
}

}  // namespace spatialmamba
