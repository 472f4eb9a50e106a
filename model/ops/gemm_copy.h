#pragma once

#include "model/ops/gemm_cuda.h"
#include "model/ops/kernel.h"
#include "model/ops/kernel_math.h"

// How the blocks of GemmCuda bring x and the weights into shared memory.

namespace spatialmamba {

// A step of the sum takes 128 bytes of inputs of each row of x and of the weights, as 8 chunks
// of 16. Chunk c of a row r lies at place c ^ r % 8 of its 128 bytes: copies (8 lanes fill a row)
// and reads (8 lanes take the same chunk of 8 rows) then spread over all banks.
constexpr int kGemmRowBytes = 128;
constexpr int kGemmChunkBytes = 16;
constexpr int kGemmChunks = kGemmRowBytes / kGemmChunkBytes;

template <typename T>
constexpr int kGemmStepInputs = kGemmRowBytes / static_cast<int>(sizeof(T));
template <typename T>
constexpr int kGemmChunkInputs = kGemmChunkBytes / static_cast<int>(sizeof(T));

// A tile of the output, kRows x kOutputs, in warps of kWarpRows x 32; kStages steps of its inputs
// in shared memory; kBlocks of a multiprocessor that registers must suffice for.
template <int kRowsValue, int kOutputsValue, int kWarpRowsValue, int kStagesValue, int kBlocksValue>
struct GemmShape {
  static constexpr int kRows = kRowsValue;
  static constexpr int kOutputs = kOutputsValue;
  static constexpr int kWarpRows = kWarpRowsValue;
  static constexpr int kWarpOutputs = 32;
  static constexpr int kStages = kStagesValue;
  static constexpr int kBlocks = kBlocksValue;
  static constexpr int kThreads = 32 * (kRows / kWarpRows) * (kOutputs / kWarpOutputs);
  static constexpr int kCopyRows = kThreads / kGemmChunks;  // that the threads copy at once
  static constexpr int kStageBytes = (kRows + kOutputs) * kGemmRowBytes;
  static_assert(kRows % kCopyRows == 0 && kOutputs % kCopyRows == 0 && kCopyRows % 8 == 0);
};

// Where a thread's first chunk goes in a stage, with rows of 128 bytes; the next ones lie kCopyRows
// rows below each other.
__device__ __forceinline__ int GemmCopyOffset(int thread) {
  const int row = thread / kGemmChunks, chunk = thread % kGemmChunks;
  return row * kGemmRowBytes + (chunk ^ row % 8) * kGemmChunkBytes;
}

// The output, within 32, whose weights lie in row `row` of a stage: such that lane % 4 * 8 and the
// seven after it are what a lane's sums of MmaBf16 add up to (StoreGemm). It moves bits, so that
// disjoint ones can be added.
__device__ __forceinline__ constexpr int GemmOutputOfRow(int row) {
  return (row & ~31) | (row & 6) << 2 | (row >> 2 & 6) | (row & 1);
}

// A thread's chunks of the weights, from step to step. Outputs past the last take the last one's.
template <typename T, typename Shape>
class GemmWeightCopies {
 public:
  __device__ __forceinline__ GemmWeightCopies(const DeviceGemm& gemm, int first_output, int thread)
      : weights_(static_cast<const T*>(gemm.weights)),
        inputs_(gemm.inputs),
        stride_(gemm.weight_stride),
        last_(gemm.outputs - 1),
        output_(first_output + GemmOutputOfRow(thread / kGemmChunks)),
        input_(thread % kGemmChunks * kGemmChunkInputs<T>) {}

  __device__ __forceinline__ void Copy(unsigned char* to) {
    const bool inside = input_ < inputs_;
    const T* from = weights_ + (inside ? input_ : 0);
#pragma unroll
    for (int i = 0; i < Shape::kOutputs / Shape::kCopyRows; ++i) {
      const int row = i * Shape::kCopyRows;
      const int output = min(output_ + GemmOutputOfRow(row), last_);
      CopyAsyncOrZero(to + row * kGemmRowBytes, from + static_cast<int64_t>(output) * stride_,
                      inside);
    }
    input_ += kGemmStepInputs<T>;
  }

 private:
  const T* weights_;
  int inputs_, stride_, last_, output_, input_;
};

// A thread's chunks of x, from step to step. Rows past the last take the last one's.
template <typename T, typename Shape>
class GemmRowCopies {
 public:
  static constexpr int kSharedBytes = 0;

  __device__ __forceinline__ GemmRowCopies(const DeviceGemm& gemm, int first_row, int rows,
                                           int thread, const unsigned char*)
      : x_(static_cast<const T*>(gemm.x.data)),
        inputs_(gemm.inputs),
        stride_(gemm.x.stride),
        last_(rows - 1),
        row_(first_row + thread / kGemmChunks),
        input_(thread % kGemmChunks * kGemmChunkInputs<T>) {}

  __device__ static __forceinline__ void Prepare(const DeviceGemm&, int, int, int, unsigned char*) {
  }

  __device__ __forceinline__ void Copy(unsigned char* to) {
    const bool inside = input_ < inputs_;
    const T* from = x_ + (inside ? input_ : 0);
#pragma unroll
    for (int i = 0; i < Shape::kRows / Shape::kCopyRows; ++i) {
      const int row = min(row_ + i * Shape::kCopyRows, last_);
      CopyAsyncOrZero(to + i * Shape::kCopyRows * kGemmRowBytes,
                      from + static_cast<int64_t>(row) * stride_, inside);
    }
    input_ += kGemmStepInputs<T>;
  }

 private:
  const T* x_;
  int inputs_, stride_, last_, row_, input_;
};

// What one row of a convolution reads.
struct GemmWindow {
  int centre;               // a token of `from`
  uint32_t width_and_taps;  // the image's width * 1024 + bit t: tap t (row * 3 + column) is inside
};

__device__ inline GemmWindow FindGemmWindow(const DeviceGemm& gemm, int row) {
  const int image = ImageOfToken(gemm.to.spans, gemm.to.counts[kImageCount], row);
  const DeviceSpan to = gemm.to.spans[image], from = gemm.from.spans[image];
  const int pixel = row - to.offset;
  const int y = pixel / to.width * gemm.step, x = pixel % to.width * gemm.step;
  uint32_t columns = 2, taps = 0;
  if (x > 0) columns |= 1;
  if (x + 1 < from.width) columns |= 4;
  if (y > 0) taps |= columns;
  taps |= columns << 3;
  if (y + 1 < from.height) taps |= columns << 6;
  return {from.offset + y * from.width + x, static_cast<uint32_t>(from.width) << 10 | taps};
}

// As GemmRowCopies, of a convolution: the inputs of a row are the channels of nine tokens, zeros
// outside the image. A chunk belongs to one of them, since channels are a multiple of 8.
template <typename T, typename Shape>
class GemmWindowCopies {
 public:
  static constexpr int kSharedBytes = Shape::kRows * static_cast<int>(sizeof(GemmWindow));

  // Each window is found by one thread only; a barrier must follow.
  __device__ static __forceinline__ void Prepare(const DeviceGemm& gemm, int first_row, int rows,
                                                 int thread, unsigned char* shared) {
    auto* windows = reinterpret_cast<GemmWindow*>(shared);
    for (int i = thread; i < Shape::kRows; i += Shape::kThreads) {
      windows[i] = first_row + i < rows ? FindGemmWindow(gemm, first_row + i) : GemmWindow{0, 0};
    }
    __syncthreads();
  }

  __device__ __forceinline__ GemmWindowCopies(const DeviceGemm& gemm, int, int, int thread,
                                              const unsigned char* shared)
      : x_(static_cast<const T*>(gemm.x.data)),
        stride_(gemm.x.stride),
        channels_(gemm.inputs / 9),
        channel_(thread % kGemmChunks * kGemmChunkInputs<T>) {
    const auto* windows = reinterpret_cast<const GemmWindow*>(shared);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      windows_[i] = windows[thread / kGemmChunks + i * Shape::kCopyRows];
    }
    FindTap();
  }

  __device__ __forceinline__ void Copy(unsigned char* to) {
    const int tap = min(tap_, 9);  // past the inputs: no window has this one
    const int row = tap / 3 - 1, column = tap % 3 - 1;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const GemmWindow window = windows_[i];
      const bool inside = (window.width_and_taps >> tap & 1) != 0;
      const int token =
          window.centre + row * static_cast<int>(window.width_and_taps >> 10) + column;
      CopyAsyncOrZero(to + i * Shape::kCopyRows * kGemmRowBytes,
                      x_ + static_cast<int64_t>(inside ? token : 0) * stride_ + channel_, inside);
    }
    channel_ += kGemmStepInputs<T>;
    FindTap();
  }

 private:
  static constexpr int kCount = Shape::kRows / Shape::kCopyRows;

  __device__ __forceinline__ void FindTap() {
    while (channel_ >= channels_) {
      channel_ -= channels_;
      ++tap_;
    }
  }

  const T* x_;
  int stride_, channels_;
  int channel_;
  int tap_ = 0;
  GemmWindow windows_[kCount];
};

}  // namespace spatialmamba
