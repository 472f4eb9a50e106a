#include "model/image/tiff_file.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

#include "model/image/codecs.h"

namespace spatialmamba {
namespace {

TiffFile& Of(void* file) { return *static_cast<TiffFile*>(file); }

tmsize_t RefuseToWrite(thandle_t /*file*/, void* /*source*/, tmsize_t /*size*/) { return -1; }

int StayOpen(thandle_t /*file*/) { return 0; }

}  // namespace

TiffFile::TiffFile(std::span<const std::byte> file, int64_t max_allocation) : bytes_(file) {
  TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
  if (options == nullptr) {
    throw std::bad_alloc();
  }
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, max_allocation);
  TIFFOpenOptionsSetErrorHandlerExtR(options, OnError, this);
  TIFFOpenOptionsSetWarningHandlerExtR(options, OnWarning, this);
  tiff_ = TIFFClientOpenExt("", "rm", this, Read, RefuseToWrite, Seek, StayOpen, Size, nullptr,
                            nullptr, options);
  TIFFOpenOptionsFree(options);
  if (tiff_ == nullptr) {
    throw CorruptFile(ImageFormat::kTiff);
  }
}

TiffFile::~TiffFile() { TIFFClose(tiff_); }

tmsize_t TiffFile::Read(thandle_t file, void* target, tmsize_t size) {
  TiffFile& self = Of(file);
  const auto at = static_cast<size_t>(std::min<uint64_t>(self.position_, self.bytes_.size()));
  const size_t wanted = static_cast<size_t>(std::max<tmsize_t>(size, 0));
  const size_t count = std::min(wanted, self.bytes_.size() - at);
  if (count > 0) {
    std::memcpy(target, self.bytes_.data() + at, count);
  }
  // libtiff leaves out a tag that it cannot read whole, a palette as well, with no more than a
  // warning.
  self.failed_ = self.failed_ || count != wanted;
  self.position_ += count;
  return static_cast<tmsize_t>(count);
}

uint64_t TiffFile::Seek(thandle_t file, uint64_t offset, int whence) {
  TiffFile& self = Of(file);
  const uint64_t base = whence == SEEK_CUR   ? self.position_
                        : whence == SEEK_END ? self.bytes_.size()
                                             : 0;
  self.position_ = base + offset;
  return self.position_;
}

uint64_t TiffFile::Size(thandle_t file) { return Of(file).bytes_.size(); }

int TiffFile::OnError(TIFF* /*tiff*/, void* file, const char* /*module*/, const char* /*format*/,
                      va_list /*arguments*/) {
  Of(file).failed_ = true;
  return 1;
}

// Unknown tags are only warned of, but so are JPEG strips that end early.
int TiffFile::OnWarning(TIFF* /*tiff*/, void* file, const char* module, const char* /*format*/,
                        va_list /*arguments*/) {
  if (module != nullptr && std::string_view(module) == "JPEGLib") {
    Of(file).failed_ = true;
  }
  return 1;
}

}  // namespace spatialmamba
