#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace spatialmamba {

enum class ByteOrder { kLittle, kBig };

// An unsigned number of `size` <= 4 bytes. The caller has checked that they lie within `bytes`.
inline uint32_t ReadNumber(std::span<const std::byte> bytes, size_t at, size_t size,
                           ByteOrder order) {
  uint32_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    const size_t from = order == ByteOrder::kBig ? i : size - 1 - i;
    value = value << 8U | std::to_integer<uint32_t>(bytes[at + from]);
  }
  return value;
}

}  // namespace spatialmamba
