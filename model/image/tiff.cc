#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <string_view>
#include <vector>

#include <tiffio.h>

#include "model/image/cmyk.h"
#include "model/image/codecs.h"

namespace spatialmamba {
namespace {

constexpr int kMaxSamples = 8;  // colours and extra channels of a pixel
constexpr int64_t kMaxBytesPerPixel = 2 * kMaxSamples;
constexpr int64_t kSpareBytes = int64_t{16}
                                << 20U;  // for tables, and for tiles larger than the picture
constexpr int kMaxTagArrayGrowth = 4;    // bytes in memory for a byte of tags in the file

// A file in memory, as libtiff reads it.
class TiffSource {
 public:
  explicit TiffSource(std::span<const std::byte> file) : file_(file) {}

  tmsize_t Read(void* target, tmsize_t size) {
    const auto at = static_cast<size_t>(std::min<uint64_t>(position_, file_.size()));
    const size_t count =
        std::min(static_cast<size_t>(std::max<tmsize_t>(size, 0)), file_.size() - at);
    if (count > 0) {
      std::memcpy(target, file_.data() + at, count);
    }
    // A tag that cannot be read whole is left out with no more than a warning, a palette as well.
    failed = failed || static_cast<tmsize_t>(count) != size;
    position_ += count;
    return static_cast<tmsize_t>(count);
  }

  uint64_t Seek(uint64_t offset, int whence) {
    const uint64_t base = whence == SEEK_CUR ? position_ : whence == SEEK_END ? file_.size() : 0;
    return position_ = base + offset;
  }

  uint64_t Size() const { return file_.size(); }

  bool failed = false;  // libtiff has reported an error or wanted what the file does not have

 private:
  std::span<const std::byte> file_;
  uint64_t position_ = 0;
};

TiffSource& Of(void* source) { return *static_cast<TiffSource*>(source); }

int OnError(TIFF* /*tiff*/, void* source, const char* /*module*/, const char* /*format*/,
            va_list /*arguments*/) {
  Of(source).failed = true;
  return 1;
}

// Unknown tags are only warned of, and so are JPEG strips that end early.
int OnWarning(TIFF* /*tiff*/, void* source, const char* module, const char* /*format*/,
              va_list /*arguments*/) {
  if (module != nullptr && std::string_view(module) == "JPEGLib") {
    Of(source).failed = true;
  }
  return 1;
}

// How the pixels of a page are stored.
struct Page {
  uint32_t height = 0;
  uint32_t width = 0;
  uint16_t orientation = 1;
  uint16_t bits = 1;
  uint16_t samples = 1;
  uint16_t sample_format = SAMPLEFORMAT_UINT;
  uint16_t planes = PLANARCONFIG_CONTIG;
  uint16_t photometric = 0;
  uint16_t compression = COMPRESSION_NONE;
  uint16_t ink_set = INKSET_CMYK;
  int colours = 1;  // samples that make the colour; the others are dropped
  std::array<uint16_t*, 3> palette = {};
};

// Strips are tiles as wide as the picture.
struct Tiling {
  bool tiled = false;
  uint32_t height = 0;
  uint32_t width = 0;
  int64_t bytes = 0;  // of a tile, or of a tile's plane
  int64_t row_bytes = 0;
};

class TiffReader {
 public:
  // `pixels`: those of the picture, 0 if only its header is to be read. Bounds what libtiff may ask
  // memory for.
  TiffReader(std::span<const std::byte> file, int64_t pixels);
  ~TiffReader() { TIFFClose(tiff_); }
  TiffReader(const TiffReader&) = delete;
  TiffReader& operator=(const TiffReader&) = delete;

  ImageHeader Header() const;
  Image Decode();

 private:
  Page ReadPage();
  Tiling ReadTiling(const Page& page);
  void ReadTile(const Tiling& tiling, uint32_t top, uint32_t left, uint16_t plane,
                std::vector<uint8_t>& bytes);
  void CheckKind(const Page& page) const;

  TiffSource source_;
  int64_t max_bytes_;
  TIFF* tiff_ = nullptr;
};

int ColoursOf(const Page& page) {
  switch (page.photometric) {
    case PHOTOMETRIC_RGB:
      return 3;
    case PHOTOMETRIC_SEPARATED:
      return 4;
    default:
      return 1;
  }
}

bool IsKnownCompression(uint16_t compression) {
  constexpr std::array<uint16_t, 9> kKnown = {
      COMPRESSION_NONE,          COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,
      COMPRESSION_CCITTFAX4,     COMPRESSION_LZW,      COMPRESSION_JPEG,
      COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,  COMPRESSION_PACKBITS};
  return std::ranges::find(kKnown, compression) != kKnown.end();
}

bool IsKnownPhotometric(uint16_t photometric) {
  return photometric == PHOTOMETRIC_MINISWHITE || photometric == PHOTOMETRIC_MINISBLACK ||
         photometric == PHOTOMETRIC_RGB || photometric == PHOTOMETRIC_PALETTE ||
         photometric == PHOTOMETRIC_SEPARATED;
}

TiffReader::TiffReader(std::span<const std::byte> file, int64_t pixels)
    : source_(file),
      max_bytes_(static_cast<int64_t>(file.size()) * kMaxTagArrayGrowth +
                 pixels * kMaxBytesPerPixel + kSpareBytes) {
  TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
  if (options == nullptr) {
    throw std::bad_alloc();
  }
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, max_bytes_);
  TIFFOpenOptionsSetErrorHandlerExtR(options, OnError, &source_);
  TIFFOpenOptionsSetWarningHandlerExtR(options, OnWarning, &source_);
  tiff_ = TIFFClientOpenExt(
      "", "rm", &source_,
      [](thandle_t source, void* target, tmsize_t size) { return Of(source).Read(target, size); },
      [](thandle_t, void*, tmsize_t) -> tmsize_t { return -1; },
      [](thandle_t source, uint64_t offset, int whence) { return Of(source).Seek(offset, whence); },
      [](thandle_t) { return 0; }, [](thandle_t source) { return Of(source).Size(); }, nullptr,
      nullptr, options);
  TIFFOpenOptionsFree(options);
  if (tiff_ == nullptr) {
    throw CorruptFile(ImageFormat::kTiff);
  }
}

ImageHeader TiffReader::Header() const {
  uint32_t height = 0;
  uint32_t width = 0;
  uint16_t orientation = 1;
  TIFFGetField(tiff_, TIFFTAG_IMAGELENGTH, &height);
  TIFFGetField(tiff_, TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetFieldDefaulted(tiff_, TIFFTAG_ORIENTATION, &orientation);
  if (height < 1 || width < 1 || source_.failed) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  return {.format = ImageFormat::kTiff,
          .height = height,
          .width = width,
          .orientation = orientation >= 1 && orientation <= 8 ? orientation : 1};
}

Page TiffReader::ReadPage() {
  const ImageHeader header = Header();
  Page page{.height = static_cast<uint32_t>(header.height),
            .width = static_cast<uint32_t>(header.width)};
  TIFFGetFieldDefaulted(tiff_, TIFFTAG_COMPRESSION, &page.compression);
  if (!TIFFGetField(tiff_, TIFFTAG_PHOTOMETRIC, &page.photometric)) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  if (page.compression == COMPRESSION_JPEG && page.photometric == PHOTOMETRIC_YCBCR) {
    TIFFSetField(tiff_, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    page.photometric = PHOTOMETRIC_RGB;
  }
  TIFFGetFieldDefaulted(tiff_, TIFFTAG_BITSPERSAMPLE, &page.bits);
  TIFFGetFieldDefaulted(tiff_, TIFFTAG_SAMPLESPERPIXEL, &page.samples);
  TIFFGetFieldDefaulted(tiff_, TIFFTAG_SAMPLEFORMAT, &page.sample_format);
  TIFFGetFieldDefaulted(tiff_, TIFFTAG_PLANARCONFIG, &page.planes);
  TIFFGetFieldDefaulted(tiff_, TIFFTAG_INKSET, &page.ink_set);
  page.colours = ColoursOf(page);
  CheckKind(page);
  if (page.photometric == PHOTOMETRIC_PALETTE &&
      !TIFFGetField(tiff_, TIFFTAG_COLORMAP, page.palette.data(), &page.palette[1],
                    &page.palette[2])) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  return page;
}

void TiffReader::CheckKind(const Page& page) const {
  const auto refuse = [](const char* what) {
    throw UnsupportedFile(ImageFormat::kTiff,
                          std::string(what) + ": save it again as 8-bit RGB, or as PNG");
  };
  if (!IsKnownCompression(page.compression)) {
    refuse("is compressed in a way that is not supported");
  }
  if (!IsKnownPhotometric(page.photometric) ||
      (page.photometric == PHOTOMETRIC_SEPARATED && page.ink_set != INKSET_CMYK)) {
    refuse("has colours of a kind that is not supported");
  }
  const bool packed = page.bits == 1 || page.bits == 2 || page.bits == 4;
  const bool whole = page.bits == 8 || (page.bits == 16 && page.photometric != PHOTOMETRIC_PALETTE);
  if (!(whole || (packed && page.colours == 1)) ||
      (page.sample_format != SAMPLEFORMAT_UINT && page.sample_format != SAMPLEFORMAT_VOID)) {
    refuse("has samples that are not of 8 or 16 bits");
  }
  if (page.samples > kMaxSamples) {
    refuse("has more than 8 samples a pixel");
  }
  if (page.samples < page.colours) {
    throw CorruptFile(ImageFormat::kTiff);
  }
}

Tiling TiffReader::ReadTiling(const Page& page) {
  Tiling tiling{.tiled = TIFFIsTiled(tiff_) != 0};
  if (tiling.tiled) {
    TIFFGetField(tiff_, TIFFTAG_TILELENGTH, &tiling.height);
    TIFFGetField(tiff_, TIFFTAG_TILEWIDTH, &tiling.width);
    tiling.bytes = TIFFTileSize(tiff_);
    tiling.row_bytes = TIFFTileRowSize(tiff_);
  } else {
    TIFFGetFieldDefaulted(tiff_, TIFFTAG_ROWSPERSTRIP, &tiling.height);
    tiling.height = std::min(tiling.height, page.height);
    tiling.width = page.width;
    tiling.bytes = TIFFVStripSize(tiff_, tiling.height);
    tiling.row_bytes = TIFFScanlineSize(tiff_);
  }
  const int64_t interleaved = page.planes == PLANARCONFIG_CONTIG ? page.samples : 1;
  if (source_.failed || tiling.height < 1 || tiling.width < 1 || tiling.bytes > max_bytes_ ||
      tiling.row_bytes < (int64_t{tiling.width} * interleaved * page.bits + 7) / 8 ||
      tiling.bytes / tiling.height < tiling.row_bytes) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  return tiling;
}

void TiffReader::ReadTile(const Tiling& tiling, uint32_t top, uint32_t left, uint16_t plane,
                          std::vector<uint8_t>& bytes) {
  int64_t wanted = tiling.bytes;
  int64_t found = 0;
  if (tiling.tiled) {
    const uint32_t tile = TIFFComputeTile(tiff_, left, top, 0, plane);
    found = TIFFReadEncodedTile(tiff_, tile, bytes.data(), wanted);
  } else {
    const uint32_t strip = TIFFComputeStrip(tiff_, top, plane);
    const auto height = static_cast<uint32_t>(Header().height);
    wanted = TIFFVStripSize(tiff_, std::min(tiling.height, height - top));
    found = TIFFReadEncodedStrip(tiff_, strip, bytes.data(), wanted);
  }
  if (found != wanted || source_.failed) {
    throw CorruptFile(ImageFormat::kTiff);
  }
}

// The sample at an index within a row, as stored but for 16-bit ones, which lose their lower byte.
uint8_t Sample(const uint8_t* row, size_t index, unsigned bits) {
  if (bits == 8) {
    return row[index];
  }
  if (bits == 16) {
    uint16_t value = 0;  // libtiff has brought it to the order of this machine
    std::memcpy(&value, row + index * 2, sizeof(value));
    return static_cast<uint8_t>(value >> 8U);
  }
  const size_t bit = index * bits;
  const unsigned shift = 8U - bits - static_cast<unsigned>(bit % 8);
  return static_cast<uint8_t>((static_cast<unsigned>(row[bit / 8]) >> shift) & ((1U << bits) - 1));
}

std::array<uint8_t, 3> ToRgb(const Page& page, const std::array<uint8_t, 4>& samples) {
  switch (page.photometric) {
    case PHOTOMETRIC_RGB:
      return {samples[0], samples[1], samples[2]};
    case PHOTOMETRIC_SEPARATED:
      return CmykToRgb(samples);
    case PHOTOMETRIC_PALETTE: {
      const auto entry = [&](const uint16_t* table) {
        return static_cast<uint8_t>(table[samples[0]] >> 8U);
      };
      return {entry(page.palette[0]), entry(page.palette[1]), entry(page.palette[2])};
    }
    default: {
      const int largest = page.bits >= 8 ? 255 : (1 << page.bits) - 1;
      const int grey = samples[0] * 255 / largest;
      const auto shown =
          static_cast<uint8_t>(page.photometric == PHOTOMETRIC_MINISWHITE ? 255 - grey : grey);
      return {shown, shown, shown};
    }
  }
}

// Where a tile lies, and its bytes: one plane, or one a colour.
struct Tile {
  uint32_t top = 0;
  uint32_t left = 0;
  std::vector<std::vector<uint8_t>> planes;
};

void CopyTile(const Page& page, const Tiling& tiling, const Tile& tile, Image& image) {
  const bool separate = page.planes == PLANARCONFIG_SEPARATE;
  const size_t step = separate ? 1 : page.samples;
  const uint32_t height = std::min(tiling.height, page.height - tile.top);
  const uint32_t width = std::min(tiling.width, page.width - tile.left);
  std::array<uint8_t, 4> samples = {};
  for (uint32_t row = 0; row < height; ++row) {
    uint8_t* target = Row(image, int64_t{tile.top} + row) + int64_t{tile.left} * 3;
    for (uint32_t column = 0; column < width; ++column) {
      for (size_t colour = 0; colour < static_cast<size_t>(page.colours); ++colour) {
        const uint8_t* bytes = tile.planes[separate ? colour : 0].data() + row * tiling.row_bytes;
        samples[colour] = Sample(bytes, column * step + (separate ? 0 : colour), page.bits);
      }
      target = std::ranges::copy(ToRgb(page, samples), target).out;
    }
  }
}

Image TiffReader::Decode() {
  const Page page = ReadPage();
  const Tiling tiling = ReadTiling(page);
  const bool separate = page.planes == PLANARCONFIG_SEPARATE;
  Tile tile;
  tile.planes.resize(separate ? static_cast<size_t>(page.colours) : 1,
                     std::vector<uint8_t>(static_cast<size_t>(tiling.bytes)));
  Image image = BlackImage(page.height, page.width);
  for (uint64_t top = 0; top < page.height; top += tiling.height) {
    for (uint64_t left = 0; left < page.width; left += tiling.width) {
      tile.top = static_cast<uint32_t>(top);
      tile.left = static_cast<uint32_t>(left);
      for (size_t plane = 0; plane < tile.planes.size(); ++plane) {
        ReadTile(tiling, tile.top, tile.left, static_cast<uint16_t>(plane), tile.planes[plane]);
      }
      CopyTile(page, tiling, tile, image);
    }
  }
  return image;
}

}  // namespace

ImageHeader ReadTiffHeader(std::span<const std::byte> file) { return TiffReader(file, 0).Header(); }

Image DecodeTiff(std::span<const std::byte> file, const ImageHeader& header) {
  TiffReader reader(file, header.height * header.width);
  const ImageHeader found = reader.Header();
  if (found.height != header.height || found.width != header.width) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  return reader.Decode();
}

}  // namespace spatialmamba
