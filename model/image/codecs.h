#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "model/image/decode.h"
#include "model/image/image.h"

// The four formats behind decode.h. Headers are read without decompressing anything; the caller
// compares their size with its bound before it decodes. A decoder refuses a file whose size is not
// that of `header`. Pictures come as they are stored, before orientation.
namespace spatialmamba {

ImageHeader ReadJpegHeader(std::span<const std::byte> file);
ImageHeader ReadPngHeader(std::span<const std::byte> file);
ImageHeader ReadWebPHeader(std::span<const std::byte> file);
ImageHeader ReadTiffHeader(std::span<const std::byte> file);

Image DecodeJpeg(std::span<const std::byte> file, const ImageHeader& header);
Image DecodePng(std::span<const std::byte> file, const ImageHeader& header);
Image DecodeWebP(std::span<const std::byte> file, const ImageHeader& header);
Image DecodeTiff(std::span<const std::byte> file, const ImageHeader& header);

// Errors to throw. `what` completes "the JPEG file ...".
ImageError CorruptFile(ImageFormat format);
ImageError UnsupportedFile(ImageFormat format, const std::string& what);

}  // namespace spatialmamba
