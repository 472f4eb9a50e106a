#include "model/ops/aligned_buffer.h"

#include <algorithm>

namespace spatialmamba {

AlignedBuffer::AlignedBuffer(int64_t count) : size_(count) {
  data_.reset(new (std::align_val_t{64}) float[static_cast<size_t>(count)]);
  std::fill_n(data_.get(), count, 0.0F);
}

}  // namespace spatialmamba
