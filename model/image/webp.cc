#include <algorithm>
#include <cstdint>
#include <string_view>

#include <webp/decode.h>

#include "model/image/byte_order.h"
#include "model/image/codecs.h"
#include "model/image/exif.h"

namespace spatialmamba {
namespace {

constexpr size_t kFileHeaderSize = 12;  // "RIFF", size, "WEBP"
constexpr size_t kChunkHeaderSize = 8;  // type, size

const uint8_t* Bytes(std::span<const std::byte> file) {
  return reinterpret_cast<const uint8_t*>(file.data());
}

int StoredOrientation(std::span<const std::byte> file) {
  std::span<const std::byte> rest = file.subspan(kFileHeaderSize);
  while (rest.size() >= kChunkHeaderSize) {
    const std::string_view type(reinterpret_cast<const char*>(rest.data()), 4);
    const size_t size = ReadNumber(rest, 4, 4, ByteOrder::kLittle);
    rest = rest.subspan(kChunkHeaderSize);
    const size_t present = std::min(size, rest.size());
    if (type == "EXIF") {
      return ExifOrientation(rest.first(present));
    }
    // A chunk of odd size is followed by a byte of padding.
    rest = rest.subspan(std::min(present + present % 2, rest.size()));
  }
  return 1;
}

}  // namespace

ImageHeader ReadWebPHeader(std::span<const std::byte> file) {
  WebPBitstreamFeatures features;
  // The size within the file tells whether all of it is there.
  if (WebPGetFeatures(Bytes(file), file.size(), &features) != VP8_STATUS_OK ||
      ReadNumber(file, 4, 4, ByteOrder::kLittle) > file.size() - 8) {
    throw CorruptFile(ImageFormat::kWebP);
  }
  if (features.has_animation != 0) {
    throw UnsupportedFile(ImageFormat::kWebP, "is animated: send a single picture");
  }
  if (features.height < 1 || features.width < 1) {
    throw CorruptFile(ImageFormat::kWebP);
  }
  return {.format = ImageFormat::kWebP,
          .height = features.height,
          .width = features.width,
          .orientation = StoredOrientation(file)};
}

Image DecodeWebP(std::span<const std::byte> file, const ImageHeader& header) {
  const ImageHeader found = ReadWebPHeader(file);
  if (found.height != header.height || found.width != header.width) {
    throw CorruptFile(ImageFormat::kWebP);
  }
  Image image = BlackImage(header.height, header.width);
  // Sides of a WebP have at most 24 bits, so that a row's bytes fit.
  if (WebPDecodeRGBInto(Bytes(file), file.size(), image.rgb.data(), image.rgb.size(),
                        static_cast<int>(image.width * 3)) == nullptr) {
    throw CorruptFile(ImageFormat::kWebP);
  }
  return image;
}

}  // namespace spatialmamba
