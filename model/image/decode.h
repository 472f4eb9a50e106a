#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "model/image/image.h"

namespace spatialmamba {

enum class ImageFormat { kJpeg, kPng, kWebP, kTiff };
const char* Name(ImageFormat format);  // "JPEG", ...

// Channel order of raw pixels.
enum class PixelLayout { kRgb, kBgr, kGrey };

enum class Orientation { kApply, kIgnore };

// Why a picture was refused. The message says what was wrong and what to do, without internals.
class ImageError : public std::runtime_error {
 public:
  enum class Reason { kEmpty, kUnsupportedFormat, kCorrupt, kTooLarge, kBadShape };
  ImageError(Reason reason, const std::string& message)
      : std::runtime_error(message), reason_(reason) {}
  // kTooLarge only: the bound and what was found, in pixels.
  ImageError(int64_t limit, int64_t value, const std::string& message)
      : std::runtime_error(message), reason_(Reason::kTooLarge), limit_(limit), value_(value) {}

  Reason reason() const { return reason_; }
  int64_t limit() const { return limit_; }
  int64_t value() const { return value_; }

 private:
  Reason reason_;
  int64_t limit_ = 0;
  int64_t value_ = 0;
};

// What the first bytes of a file say. Nothing is decompressed to learn it.
struct ImageHeader {
  ImageFormat format = ImageFormat::kJpeg;
  int64_t height = 0;  // as stored, before `orientation`
  int64_t width = 0;
  int orientation = 1;  // EXIF 1..8; 1 where absent or invalid
};

// The decode firewall. Only the four formats, told by content. Throws ImageError: kEmpty,
// kUnsupportedFormat, kCorrupt, or kTooLarge if height * width exceeds `max_pixels`.
ImageHeader ReadImageHeader(std::span<const std::byte> file, int64_t max_pixels);

// Decodes the file that `header` was read from: grey becomes RGB, alpha is dropped (not blended),
// CMYK is converted without a colour profile (in a JPEG taken to be inverted, as programs write
// it), 16-bit is reduced by >> 8, palettes are expanded, TIFF gives its first page. A file that
// ends early or is damaged throws ImageError (kCorrupt): half a picture is a wrong answer. Kinds
// that are not decoded throw kUnsupportedFormat: animated WebP, JPEG of more than 100 scans or of
// other than 8 bits, TIFF of floating point or in rare colours and compressions. Memory stays
// within a small multiple of the header's pixels and the file.
Image DecodeImage(std::span<const std::byte> file, const ImageHeader& header,
                  Orientation orientation);

// Raw pixels, [height, width, 3 or 1]. Throws ImageError: kBadShape if the sizes do not fit,
// kTooLarge.
Image FromPixels(std::span<const std::byte> pixels, int64_t height, int64_t width,
                 PixelLayout layout, int64_t max_pixels);

}  // namespace spatialmamba
