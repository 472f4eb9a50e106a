#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

namespace spatialmamba {

// `count` values, aligned to a cache line, zeroed.
template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(int64_t count) : size_(count) {
    data_.reset(new (std::align_val_t{64}) T[static_cast<size_t>(count)]);
    std::fill_n(data_.get(), count, T{});
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  int64_t bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

using AlignedBuffer = AlignedArray<float>;

}  // namespace spatialmamba
