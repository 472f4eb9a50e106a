#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "model/ops/cuda_api.h"
#include "model/ops/device_batch.h"

namespace spatialmamba {

// The device memory of one forward pass at a time: reserved once, handed out piece by piece, taken
// back all at once or down to a mark. Contents are undefined. Captured launches keep the addresses,
// so that Reserve must not be called again while one is kept. Not thread-safe; owned by a replica.
class DeviceArena {
 public:
  // What a map, or so many bytes, take.
  static size_t Bytes(int64_t rows, int64_t channels, DeviceType type) {
    return RoundUp(static_cast<size_t>(rows * Stride(channels, type)) *
                   static_cast<size_t>(DeviceBytes(type)));
  }
  static size_t RoundUp(size_t bytes) { return (bytes + 255) / 256 * 256; }
  // Rows start on 16 bytes.
  static int64_t Stride(int64_t channels, DeviceType type) {
    const int64_t of = 16 / DeviceBytes(type);
    return (channels + of - 1) / of * of;
  }

  // Allocates if it never had so much; what was taken is gone then.
  void Reserve(size_t bytes) {
    if (bytes > memory_.bytes()) {
      memory_ = DeviceBuffer();  // first, so that both need not fit
      memory_ = DeviceBuffer(bytes);
    }
    used_ = 0;
  }

  // A map for `rows` tokens. Throws std::logic_error if more is taken than was reserved.
  DeviceMap Take(int64_t rows, int64_t channels, DeviceType type) {
    return {TakeBytes(Bytes(rows, channels, type)), static_cast<int>(channels),
            static_cast<int>(Stride(channels, type)), type};
  }
  void* TakeBytes(size_t bytes) {
    const size_t rounded = RoundUp(bytes);
    if (used_ + rounded > memory_.bytes()) {
      throw std::logic_error("DeviceArena: a forward pass takes more than was planned");
    }
    void* taken = static_cast<char*>(memory_.data()) + used_;
    used_ += rounded;
    return taken;
  }

  size_t used() const { return used_; }
  void Rewind(size_t used) { used_ = used; }
  void Reset() { used_ = 0; }
  size_t bytes() const { return memory_.bytes(); }

 private:
  DeviceBuffer memory_;
  size_t used_ = 0;
};

}  // namespace spatialmamba
