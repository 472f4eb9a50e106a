#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "model/weights/checkpoint.h"

namespace spatialmamba {

// Walks over bytes of a file, little endian, and never past their end: that throws CheckpointError.
class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes, int64_t position = 0) : bytes_(bytes) {
    if (position < 0 || position > static_cast<int64_t>(bytes.size())) ThrowEnd();
    position_ = static_cast<size_t>(position);
  }

  int64_t position() const { return static_cast<int64_t>(position_); }
  int64_t remaining() const { return static_cast<int64_t>(bytes_.size() - position_); }

  // The next `count` bytes, as text of any content. Any count is safe, whatever a file claims.
  std::string_view Take(uint64_t count) {
    if (count > bytes_.size() - position_) ThrowEnd();
    const std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + position_,
                                 static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return taken;
  }

  template <typename T>
  requires std::integral<T> || std::floating_point<T> T Read() {
    T value;
    std::memcpy(&value, Take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  // Up to the next line feed, which is passed over.
  std::string_view TakeLine() {
    if (remaining() == 0) ThrowEnd();
    const void* end = std::memchr(bytes_.data() + position_, '\n', bytes_.size() - position_);
    if (end == nullptr) ThrowEnd();
    const auto length = static_cast<const std::byte*>(end) - (bytes_.data() + position_);
    const std::string_view line = Take(static_cast<uint64_t>(length));
    Take(1);
    return line;
  }

 private:
  [[noreturn]] static void ThrowEnd() {
    throw CheckpointError("ends too early: it was cut off or is damaged");
  }

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

}  // namespace spatialmamba
