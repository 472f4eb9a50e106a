#include "model/image/png_writer.h"

#include <algorithm>
#include <csetjmp>
#include <new>
#include <stdexcept>
#include <vector>

#include <png.h>

namespace spatialmamba {
namespace {

// These files are made while somebody waits for them: past this level of zlib they take twice the
// time for a few per cent.
constexpr int kCompressionLevel = 3;
constexpr int64_t kMaxSide = 0x7FFFFFFF;

struct PngFormat {
  int64_t height = 0;
  int64_t width = 0;
  int bits = 8;
  int color_type = PNG_COLOR_TYPE_GRAY;
  int filters = PNG_FILTER_NONE;
  std::span<const RgbColor> palette = {};
};

void CheckSize(int64_t height, int64_t width, int64_t channels, size_t values) {
  if (height < 1 || width < 1 || height > kMaxSide || width > kMaxSide ||
      values / static_cast<size_t>(channels) / static_cast<size_t>(width) !=
          static_cast<size_t>(height) ||
      values % (static_cast<size_t>(channels) * static_cast<size_t>(width)) != 0) {
    throw std::invalid_argument("png_writer: height and width do not fit the pixels");
  }
}

// libpng's encoder into memory. It reports errors by longjmp, so what happens inside Encode holds
// no objects with destructors.
class PngWriter {
 public:
  explicit PngWriter(const PngFormat& format) : format_(format) {
    for (size_t i = 0; i < format.palette.size(); ++i) {
      const RgbColor& color = format.palette[i];
      palette_[i] = {color.red, color.green, color.blue};
    }
    png_ = png_create_write_struct(
        PNG_LIBPNG_VER_STRING, this,
        [](png_structp png, png_const_charp) { std::longjmp(Of(png_get_error_ptr(png)).jump_, 1); },
        [](png_structp, png_const_charp) {});
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_write_struct(&png_, nullptr);
      throw std::bad_alloc();
    }
    png_set_write_fn(png_, this, Append, [](png_structp) {});
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  // row(y): the bytes of a row. All that can fail is memory.
  template <typename Row>
  std::string Encode(const Row& row) {
    if (setjmp(jump_) != 0) throw std::bad_alloc();
    Begin();
    for (int64_t y = 0; y < format_.height; ++y) png_write_row(png_, row(y));
    png_write_end(png_, nullptr);
    return std::move(file_);
  }

 private:
  static PngWriter& Of(void* writer) { return *static_cast<PngWriter*>(writer); }

  static void Append(png_structp png, png_bytep bytes, size_t count) {
    bool enough = true;
    try {
      Of(png_get_io_ptr(png)).file_.append(reinterpret_cast<const char*>(bytes), count);
    } catch (...) {
      enough = false;  // no exception may pass through libpng
    }
    if (!enough) png_error(png, "no memory");
  }

  void Begin() {
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(format_.width),
                 static_cast<png_uint_32>(format_.height), format_.bits, format_.color_type,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!format_.palette.empty()) {
      png_set_PLTE(png_, info_, palette_, static_cast<int>(format_.palette.size()));
    }
    png_set_compression_level(png_, kCompressionLevel);
    png_set_filter(png_, PNG_FILTER_TYPE_BASE, format_.filters);
    png_write_info(png_, info_);
    if (format_.bits == 16) png_set_swap(png_);  // files are big-endian
  }

  const PngFormat format_;
  png_color palette_[kLargestPalette] = {};
  std::string file_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_ = {};
};

}  // namespace

std::string EncodePalettePng(std::span<const uint8_t> indices, int64_t height, int64_t width,
                             std::span<const RgbColor> palette) {
  CheckSize(height, width, 1, indices.size());
  if (palette.empty() || palette.size() > kLargestPalette) {
    throw std::invalid_argument("EncodePalettePng: a palette has 1 to 256 colours");
  }
  if (*std::max_element(indices.begin(), indices.end()) >= palette.size()) {
    throw std::invalid_argument("EncodePalettePng: an index is beyond the palette");
  }
  PngWriter writer(
      {.height = height, .width = width, .color_type = PNG_COLOR_TYPE_PALETTE, .palette = palette});
  return writer.Encode([&](int64_t y) { return indices.data() + y * width; });
}

std::string EncodeGrey16Png(std::span<const uint16_t> values, int64_t height, int64_t width) {
  CheckSize(height, width, 1, values.size());
  PngWriter writer({.height = height, .width = width, .bits = 16});
  return writer.Encode(
      [&](int64_t y) { return reinterpret_cast<png_const_bytep>(values.data() + y * width); });
}

std::string EncodeMaskPng(std::span<const uint8_t> set, int64_t height, int64_t width) {
  CheckSize(height, width, 1, set.size());
  std::vector<uint8_t> line(static_cast<size_t>(width));
  PngWriter writer({.height = height, .width = width});
  return writer.Encode([&](int64_t y) {
    const uint8_t* from = set.data() + y * width;
    std::transform(from, from + width, line.begin(),
                   [](uint8_t value) { return static_cast<uint8_t>(value == 0 ? 0 : 255); });
    return line.data();
  });
}

std::string EncodeRgbPng(const Image& image) {
  CheckSize(image.height, image.width, 3, image.rgb.size());
  PngWriter writer({.height = image.height,
                    .width = image.width,
                    .color_type = PNG_COLOR_TYPE_RGB,
                    .filters = PNG_FILTER_SUB | PNG_FILTER_UP});
  return writer.Encode([&](int64_t y) { return Row(image, y); });
}

}  // namespace spatialmamba
