#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <span>

#include <tiffio.h>

namespace spatialmamba {

// A TIFF in memory, opened with libtiff at its first page.
class TiffFile {
 public:
  // libtiff may ask for `max_allocation` bytes at once, no more. Throws ImageError (kCorrupt) if
  // there is no first page.
  TiffFile(std::span<const std::byte> file, int64_t max_allocation);
  ~TiffFile();
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  TIFF* get() const { return tiff_; }

  // Whether libtiff has met an error, or wanted bytes that the file does not have. It goes on after
  // many of them, with a page that is not the one that was written.
  bool failed() const { return failed_; }

 private:
  // What libtiff calls: `file` is a TiffFile.
  static tmsize_t Read(thandle_t file, void* target, tmsize_t size);
  static uint64_t Seek(thandle_t file, uint64_t offset, int whence);
  static uint64_t Size(thandle_t file);
  static int OnError(TIFF* tiff, void* file, const char* module, const char* format,
                     va_list arguments);
  static int OnWarning(TIFF* tiff, void* file, const char* module, const char* format,
                       va_list arguments);

  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
  bool failed_ = false;
  TIFF* tiff_ = nullptr;
};

}  // namespace spatialmamba
