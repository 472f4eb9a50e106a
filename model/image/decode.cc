#include "model/image/decode.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "model/image/codecs.h"
#include "model/image/orient.h"

namespace spatialmamba {
namespace {

using std::string_view_literals::operator""sv;

std::optional<ImageFormat> FormatOf(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.starts_with("\xFF\xD8\xFF"sv)) {
    return ImageFormat::kJpeg;
  }
  if (text.starts_with("\x89PNG\r\n\x1A\n"sv)) {
    return ImageFormat::kPng;
  }
  if (text.starts_with("RIFF"sv) && text.substr(0, 12).ends_with("WEBP"sv)) {
    return ImageFormat::kWebP;
  }
  // The second two are BigTIFF.
  for (const std::string_view magic : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {
    if (text.starts_with(magic)) {
      return ImageFormat::kTiff;
    }
  }
  return std::nullopt;
}

ImageHeader ReadHeader(std::span<const std::byte> file, ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return ReadJpegHeader(file);
    case ImageFormat::kPng:
      return ReadPngHeader(file);
    case ImageFormat::kWebP:
      return ReadWebPHeader(file);
    case ImageFormat::kTiff:
      return ReadTiffHeader(file);
  }
  throw std::invalid_argument("not an image format");
}

Image DecodeStored(std::span<const std::byte> file, const ImageHeader& header) {
  switch (header.format) {
    case ImageFormat::kJpeg:
      return DecodeJpeg(file, header);
    case ImageFormat::kPng:
      return DecodePng(file, header);
    case ImageFormat::kWebP:
      return DecodeWebP(file, header);
    case ImageFormat::kTiff:
      return DecodeTiff(file, header);
  }
  throw std::invalid_argument("not an image format");
}

std::string Shape(int64_t height, int64_t width) {
  return "height " + std::to_string(height) + " and width " + std::to_string(width);
}

// Sides are positive. A product that int64 does not hold is reported as the largest that it does.
void CheckPixels(int64_t height, int64_t width, int64_t max_pixels) {
  if (height <= max_pixels / width) {
    return;
  }
  int64_t pixels = 0;
  if (__builtin_mul_overflow(height, width, &pixels)) {
    pixels = std::numeric_limits<int64_t>::max();
  }
  throw ImageError(max_pixels, pixels,
                   "the picture has " + Shape(height, width) + ", " + std::to_string(pixels) +
                       " pixels, more than the limit of " + std::to_string(max_pixels) +
                       ": send a smaller picture");
}

}  // namespace

const char* Name(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return "JPEG";
    case ImageFormat::kPng:
      return "PNG";
    case ImageFormat::kWebP:
      return "WebP";
    case ImageFormat::kTiff:
      return "TIFF";
  }
  return "unknown";
}

ImageError CorruptFile(ImageFormat format) {
  return {ImageError::Reason::kCorrupt,
          std::string("the ") + Name(format) +
              " file is damaged or ends before the picture is complete: send the whole file"};
}

ImageError UnsupportedFile(ImageFormat format, const std::string& what) {
  return {ImageError::Reason::kUnsupportedFormat,
          std::string("the ") + Name(format) + " file " + what};
}

ImageHeader ReadImageHeader(std::span<const std::byte> file, int64_t max_pixels) {
  if (file.empty()) {
    throw ImageError(ImageError::Reason::kEmpty,
                     "the image has no bytes: send the content of an image file");
  }
  const std::optional<ImageFormat> format = FormatOf(file);
  if (!format) {
    throw ImageError(ImageError::Reason::kUnsupportedFormat,
                     "the image is not a JPEG, PNG, WebP or TIFF file: convert it to one of these");
  }
  const ImageHeader header = ReadHeader(file, *format);
  CheckPixels(header.height, header.width, max_pixels);
  return header;
}

Image DecodeImage(std::span<const std::byte> file, const ImageHeader& header,
                  Orientation orientation) {
  Image image = DecodeStored(file, header);
  return orientation == Orientation::kApply ? Upright(std::move(image), header.orientation) : image;
}

Image FromPixels(std::span<const std::byte> pixels, int64_t height, int64_t width,
                 PixelLayout layout, int64_t max_pixels) {
  if (height <= 0 || width <= 0) {
    throw ImageError(
        ImageError::Reason::kBadShape,
        "raw pixels cannot have " + Shape(height, width) + ": both must be at least 1");
  }
  CheckPixels(height, width, max_pixels);
  const auto count = static_cast<size_t>(height * width);
  const size_t channels = layout == PixelLayout::kGrey ? 1 : 3;
  if (pixels.size() / channels != count || pixels.size() % channels != 0) {
    throw ImageError(ImageError::Reason::kBadShape,
                     "there are " + std::to_string(pixels.size()) + " bytes of raw pixels, but " +
                         Shape(height, width) + " with " + std::to_string(channels) +
                         " byte(s) a pixel need " + std::to_string(count) + " x " +
                         std::to_string(channels) + ": correct the sizes or send all pixels");
  }
  Image image = BlackImage(height, width);
  const auto* source = reinterpret_cast<const uint8_t*>(pixels.data());
  for (size_t i = 0; i < count; ++i) {
    uint8_t* target = image.rgb.data() + i * 3;
    if (layout == PixelLayout::kGrey) {
      std::fill_n(target, 3, source[i]);
    } else if (layout == PixelLayout::kBgr) {
      std::reverse_copy(source + i * 3, source + i * 3 + 3, target);
    } else {
      std::copy_n(source + i * 3, 3, target);
    }
  }
  return image;
}

}  // namespace spatialmamba
