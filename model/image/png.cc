#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <vector>

#include <png.h>

#include "model/image/byte_order.h"
#include "model/image/codecs.h"
#include "model/image/exif.h"

namespace spatialmamba {
namespace {

constexpr size_t kSignatureSize = 8;
constexpr size_t kChunkFrame = 12;  // length, type and checksum
constexpr png_uint_32 kMaxSide = 0x7FFFFFFF;
constexpr png_uint_32 kMaxChunks = 128;
constexpr png_alloc_size_t kMaxChunkBytes =
    8U << 20U;  // unpacked profiles and texts, which nobody reads here

struct Chunk {
  std::string_view type;
  std::span<const std::byte> data;
};

// The chunks of a file up to the first that is not whole.
class ChunkWalk {
 public:
  explicit ChunkWalk(std::span<const std::byte> file) : rest_(file.subspan(kSignatureSize)) {}

  bool Next(Chunk& chunk) {
    if (rest_.size() < kChunkFrame) {
      return false;
    }
    const size_t length = ReadNumber(rest_, 0, 4, ByteOrder::kBig);
    if (length > rest_.size() - kChunkFrame) {
      return false;
    }
    chunk.type = {reinterpret_cast<const char*>(rest_.data()) + 4, 4};
    chunk.data = rest_.subspan(8, length);
    rest_ = rest_.subspan(length + kChunkFrame);
    return true;
  }

 private:
  std::span<const std::byte> rest_;
};

// libpng's decoder over a file in memory. It reports errors by longjmp, so that every call goes
// through Guarded, and what happens inside holds no objects with destructors.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> file) : rest_(file) {
    png_ = png_create_read_struct(
        PNG_LIBPNG_VER_STRING, this,
        [](png_structp png, png_const_charp) { Of(png_get_error_ptr(png)).Fail(); },
        [](png_structp, png_const_charp) {});
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  Image Decode(const ImageHeader& header);

 private:
  static PngReader& Of(void* reader) { return *static_cast<PngReader*>(reader); }

  [[noreturn]] void Fail() { std::longjmp(jump_, 1); }

  void Read(png_bytep target, size_t count) {
    if (count > rest_.size()) {
      Fail();
    }
    std::memcpy(target, rest_.data(), count);
    rest_ = rest_.subspan(count);
  }

  template <typename Step>
  void Guarded(Step step) {
    if (setjmp(jump_) != 0) {
      throw CorruptFile(ImageFormat::kPng);
    }
    step();
  }

  void Start();
  void AskForRgb();

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_ = {};
};

void PngReader::Start() {
  png_set_read_fn(png_, this, [](png_structp png, png_bytep target, size_t count) {
    Of(png_get_io_ptr(png)).Read(target, count);
  });
  // Sizes are bounded by the caller, who has seen the header.
  png_set_user_limits(png_, kMaxSide, kMaxSide);
  png_set_chunk_cache_max(png_, kMaxChunks);
  png_set_chunk_malloc_max(png_, kMaxChunkBytes);
  // Profiles and texts are skipped, not unpacked: a negative count stands for all chunks that do
  // not change the pixels.
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(png_, info_);
}

void PngReader::AskForRgb() {
  png_set_expand(png_);
  png_set_strip_16(png_);
  png_set_strip_alpha(png_);
  png_set_gray_to_rgb(png_);
  png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
}

Image PngReader::Decode(const ImageHeader& header) {
  Guarded([&] { Start(); });
  if (png_get_image_height(png_, info_) != header.height ||
      png_get_image_width(png_, info_) != header.width) {
    throw CorruptFile(ImageFormat::kPng);
  }
  Guarded([&] { AskForRgb(); });
  Image image = BlackImage(header.height, header.width);
  if (png_get_rowbytes(png_, info_) != static_cast<size_t>(image.width * 3)) {
    throw CorruptFile(ImageFormat::kPng);
  }
  std::vector<png_bytep> rows(static_cast<size_t>(image.height));
  for (int64_t row = 0; row < image.height; ++row) {
    rows[static_cast<size_t>(row)] = Row(image, row);
  }
  Guarded([&] {
    png_read_image(png_, rows.data());
    png_read_end(png_, nullptr);
  });
  return image;
}

}  // namespace

ImageHeader ReadPngHeader(std::span<const std::byte> file) {
  ChunkWalk walk(file);
  Chunk chunk;
  if (!walk.Next(chunk) || chunk.type != "IHDR" || chunk.data.size() != 13) {
    throw CorruptFile(ImageFormat::kPng);
  }
  ImageHeader header{.format = ImageFormat::kPng,
                     .height = ReadNumber(chunk.data, 4, 4, ByteOrder::kBig),
                     .width = ReadNumber(chunk.data, 0, 4, ByteOrder::kBig)};
  if (header.height < 1 || header.width < 1 || header.height > kMaxSide ||
      header.width > kMaxSide) {
    throw CorruptFile(ImageFormat::kPng);
  }
  while (walk.Next(chunk)) {
    if (chunk.type == "eXIf") {
      header.orientation = ExifOrientation(chunk.data);
      break;
    }
  }
  return header;
}

Image DecodePng(std::span<const std::byte> file, const ImageHeader& header) {
  return PngReader(file).Decode(header);
}

}  // namespace spatialmamba
