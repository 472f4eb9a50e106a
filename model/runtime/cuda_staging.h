#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "model/ops/cuda_api.h"
#include "model/runtime/replica.h"
#include "model/runtime/thread_pool.h"

namespace spatialmamba {

// Brings pixels from ordinary memory to the device through two pinned buffers: one is filled while
// the other travels. Not thread-safe; owned by a replica.
class CudaStaging {
 public:
  // `pool` outlives this; it helps with large batches.
  explicit CudaStaging(ThreadPool& pool);

  // The images' pixels, back to back, to `device`, in the order of the stream. What was copied
  // before must have arrived; the images are not needed any more on return.
  void Copy(std::span<const ImageView> images, float* device, CUstream_st* stream);

 private:
  // Fills a buffer with what comes next; returns its bytes.
  size_t Fill(std::span<const ImageView> images, char* buffer);

  ThreadPool& pool_;
  std::array<PinnedBuffer, 2> buffers_;
  // How far a copy has come.
  size_t image_ = 0;
  size_t offset_ = 0;  // within the image, bytes
};

}  // namespace spatialmamba
