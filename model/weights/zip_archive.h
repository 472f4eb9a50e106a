#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "model/weights/file_bytes.h"

namespace spatialmamba {

// Bytes of a file from `position` on.
struct ByteRange {
  int64_t position = 0;
  int64_t size = 0;
};

// The directory of a zip file whose entries are stored, not compressed: what torch.save writes.
// After APPNOTE.TXT 6.3, zip64 included; no encryption, no compression, one disk.
class ZipArchive {
 public:
  static bool Looks(std::span<const std::byte> bytes);

  // Throws CheckpointError if the directory is damaged.
  explicit ZipArchive(FileBytes file);

  bool Has(std::string_view name) const { return entries_.contains(name); }

  // The bytes of an entry, checked against its CRC-32 (0, as torch writes it when told not to
  // compute one, is not checked). Throws CheckpointError if it is missing, compressed or damaged.
  // Ask for an entry once: entries that overlap, which would make checking them endless, show by
  // what was given out being more than the file.
  ByteRange Find(std::string_view name);

  struct Entry {
    uint16_t method = 0;
    uint16_t flags = 0;
    uint32_t crc = 0;
    uint64_t stored_size = 0;
    uint64_t size = 0;
    uint64_t header = 0;  // position of the entry's local header
  };
  const std::map<std::string_view, Entry>& entries() const { return entries_; }

 private:
  FileBytes file_;
  std::map<std::string_view, Entry> entries_;
  uint64_t given_out_ = 0;  // bytes of the entries that were found
};

}  // namespace spatialmamba
