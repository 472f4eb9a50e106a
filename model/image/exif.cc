#include "model/image/exif.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "model/image/byte_order.h"

namespace spatialmamba {
namespace {

constexpr size_t kEntrySize = 12;
constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kShort = 3;
constexpr uint32_t kLong = 4;

bool StartsWith(std::span<const std::byte> bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), bytes.begin(), [](char expected, std::byte byte) {
           return std::to_integer<unsigned char>(byte) == static_cast<unsigned char>(expected);
         });
}

int ValidOrientation(uint32_t value) {
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

}  // namespace

int ExifOrientation(std::span<const std::byte> block) {
  using std::string_view_literals::operator""sv;
  if (StartsWith(block, "Exif\0\0"sv)) {
    block = block.subspan(6);
  }
  const bool little = StartsWith(block, "II*\0"sv);
  if (block.size() < 8 || (!little && !StartsWith(block, "MM\0*"sv))) {
    return 1;
  }
  const ByteOrder order = little ? ByteOrder::kLittle : ByteOrder::kBig;
  const size_t directory = ReadNumber(block, 4, 4, order);
  if (directory > block.size() - 2) {
    return 1;
  }
  const size_t entries = ReadNumber(block, directory, 2, order);
  for (size_t i = 0, at = directory + 2; i < entries && at + kEntrySize <= block.size();
       ++i, at += kEntrySize) {
    if (ReadNumber(block, at, 2, order) != kOrientationTag) {
      continue;
    }
    const uint32_t type = ReadNumber(block, at + 2, 2, order);
    if (type != kShort && type != kLong) {
      return 1;
    }
    return ValidOrientation(ReadNumber(block, at + 8, type == kShort ? 2 : 4, order));
  }
  return 1;
}

}  // namespace spatialmamba
