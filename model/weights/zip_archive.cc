#include "model/weights/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <string>

#include "model/weights/byte_cursor.h"
#include "model/weights/quoted.h"

namespace spatialmamba {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDirectoryEntry = 0x02014b50;
constexpr uint32_t kDirectoryEnd = 0x06054b50;
constexpr uint32_t kDirectoryEnd64 = 0x06064b50;
constexpr uint32_t kLocator64 = 0x07064b50;
constexpr int64_t kDirectoryEndSize = 22;
constexpr int64_t kLocator64Size = 20;
constexpr uint32_t kIn64 = 0xffffffff;  // the real number stands in a zip64 record

[[noreturn]] void Fail(const std::string& what) {
  throw CheckpointError("is a damaged zip file: " + what);
}

struct Directory {
  uint64_t entries = 0;
  uint64_t position = 0;
};

// The end record stands at the very end, but for a comment of at most 65535 bytes.
int64_t FindDirectoryEnd(std::span<const std::byte> bytes) {
  const auto size = static_cast<int64_t>(bytes.size());
  const int64_t last = size - kDirectoryEndSize;
  for (int64_t at = last; at >= std::max<int64_t>(0, last - 65535); --at) {
    if (ByteCursor(bytes, at).Read<uint32_t>() != kDirectoryEnd) continue;
    const auto comment = ByteCursor(bytes, at + kDirectoryEndSize - 2).Read<uint16_t>();
    if (at + kDirectoryEndSize + comment == size) return at;
  }
  Fail("it has no directory, so its end is missing; copy or download it again");
}

Directory ReadDirectoryEnd64(std::span<const std::byte> bytes, int64_t end) {
  ByteCursor locator(bytes, end - kLocator64Size);
  if (locator.Read<uint32_t>() != kLocator64) Fail("its zip64 directory cannot be located");
  locator.Take(4);
  const auto position = locator.Read<uint64_t>();
  if (position > bytes.size()) Fail("its zip64 directory lies outside of it");
  ByteCursor record(bytes, static_cast<int64_t>(position));
  if (record.Read<uint32_t>() != kDirectoryEnd64) Fail("its zip64 directory is missing");
  record.Take(28);
  Directory directory;
  directory.entries = record.Read<uint64_t>();
  record.Take(8);
  directory.position = record.Read<uint64_t>();
  return directory;
}

Directory ReadDirectoryEnd(std::span<const std::byte> bytes) {
  const int64_t end = FindDirectoryEnd(bytes);
  ByteCursor record(bytes, end + 10);
  Directory directory;
  directory.entries = record.Read<uint16_t>();
  record.Take(4);
  directory.position = record.Read<uint32_t>();
  if (directory.entries == 0xffff || directory.position == kIn64) {
    return ReadDirectoryEnd64(bytes, end);
  }
  return directory;
}

// Replaces the numbers that did not fit by those of the zip64 extra field, in its fixed order.
void ReadExtraFields(std::string_view extra, ZipArchive::Entry& entry) {
  ByteCursor cursor(std::as_bytes(std::span(extra)));
  while (cursor.remaining() >= 4) {
    const auto id = cursor.Read<uint16_t>();
    const std::string_view content = cursor.Take(cursor.Read<uint16_t>());
    if (id != 1) continue;
    ByteCursor numbers(std::as_bytes(std::span(content)));
    for (uint64_t* number : {&entry.size, &entry.stored_size, &entry.header}) {
      if (*number == kIn64) *number = numbers.Read<uint64_t>();
    }
  }
}

}  // namespace

bool ZipArchive::Looks(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && ByteCursor(bytes).Read<uint32_t>() == kLocalHeader;
}

ZipArchive::ZipArchive(FileBytes file) : file_(std::move(file)) {
  const Directory directory = ReadDirectoryEnd(*file_);
  if (directory.position > file_->size()) Fail("its directory lies outside of it");
  ByteCursor cursor(*file_, static_cast<int64_t>(directory.position));
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (cursor.Read<uint32_t>() != kDirectoryEntry) Fail("an entry of its directory is missing");
    Entry entry;
    cursor.Take(4);
    entry.flags = cursor.Read<uint16_t>();
    entry.method = cursor.Read<uint16_t>();
    cursor.Take(4);
    entry.crc = cursor.Read<uint32_t>();
    entry.stored_size = cursor.Read<uint32_t>();
    entry.size = cursor.Read<uint32_t>();
    const auto name_length = cursor.Read<uint16_t>();
    const auto extra_length = cursor.Read<uint16_t>();
    const auto comment_length = cursor.Read<uint16_t>();
    cursor.Take(8);
    entry.header = cursor.Read<uint32_t>();
    const std::string_view name = cursor.Take(name_length);
    ReadExtraFields(cursor.Take(extra_length), entry);
    cursor.Take(comment_length);
    if (!entries_.emplace(name, entry).second) Fail("it holds " + Quoted(name) + " twice");
  }
}

ByteRange ZipArchive::Find(std::string_view name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) Fail("its entry " + Quoted(name) + " is missing");
  const Entry& entry = found->second;
  if (entry.method != 0 || (entry.flags & 1) != 0) {
    throw CheckpointError("is a zip file with a compressed or encrypted entry, " + Quoted(name) +
                          "; torch.save never writes one: pack it again without compression");
  }
  if (entry.header > file_->size() || entry.size != entry.stored_size) {
    Fail("its entry " + Quoted(name) + " lies outside of it");
  }
  ByteCursor cursor(*file_, static_cast<int64_t>(entry.header));
  if (cursor.Read<uint32_t>() != kLocalHeader) Fail("its entry " + Quoted(name) + " has no header");
  cursor.Take(22);
  const auto name_length = cursor.Read<uint16_t>();
  const auto extra_length = cursor.Read<uint16_t>();
  if (cursor.Take(name_length) != name) Fail("its entry " + Quoted(name) + " is named otherwise");
  cursor.Take(extra_length);
  const int64_t position = cursor.position();
  const std::string_view content = cursor.Take(entry.size);
  given_out_ += entry.size;
  if (given_out_ > file_->size()) Fail("its entries overlap");
  if (entry.crc != 0 &&
      crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()) != entry.crc) {
    Fail("the checksum of its entry " + Quoted(name) + " is wrong; copy or download it again");
  }
  return {position, static_cast<int64_t>(content.size())};
}

}  // namespace spatialmamba
