#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <tiffio.h>

#include "model/image/codecs.h"
#include "model/image/tiff_file.h"
#include "model/image/tiff_page.h"

namespace spatialmamba {
namespace {

constexpr int kMaxSamples = 8;  // colours and extra channels of a pixel
constexpr int64_t kMaxBytesPerPixel = 2 * kMaxSamples;
// For tables, and for tiles larger than the picture.
constexpr int64_t kSpareBytes = int64_t{16} << 20U;
constexpr int kMaxTagArrayGrowth = 4;  // bytes in memory for a byte of tags in the file

class TiffReader {
 public:
  // `pixels`: those of the picture, 0 if only its header is to be read. Bounds what libtiff may ask
  // memory for.
  TiffReader(std::span<const std::byte> file, int64_t pixels)
      : max_bytes_(static_cast<int64_t>(file.size()) * kMaxTagArrayGrowth +
                   pixels * kMaxBytesPerPixel + kSpareBytes),
        file_(file, max_bytes_) {}

  ImageHeader Header() const;
  Image Decode();

 private:
  TiffPage ReadPage();
  TiffTiling ReadTiling(const TiffPage& page);
  void ReadTile(const TiffTiling& tiling, uint32_t top, uint32_t left, uint16_t plane,
                std::vector<uint8_t>& bytes);
  void CheckKind(const TiffPage& page) const;

  const int64_t max_bytes_;
  TiffFile file_;
};

int ColoursOf(const TiffPage& page) {
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

ImageHeader TiffReader::Header() const {
  uint32_t height = 0;
  uint32_t width = 0;
  uint16_t orientation = 1;
  TIFFGetField(file_.get(), TIFFTAG_IMAGELENGTH, &height);
  TIFFGetField(file_.get(), TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetFieldDefaulted(file_.get(), TIFFTAG_ORIENTATION, &orientation);
  if (height < 1 || width < 1 || file_.failed()) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  return {.format = ImageFormat::kTiff,
          .height = height,
          .width = width,
          .orientation = orientation >= 1 && orientation <= 8 ? orientation : 1};
}

TiffPage TiffReader::ReadPage() {
  const ImageHeader header = Header();
  TiffPage page{.height = static_cast<uint32_t>(header.height),
                .width = static_cast<uint32_t>(header.width)};
  TIFFGetFieldDefaulted(file_.get(), TIFFTAG_COMPRESSION, &page.compression);
  if (!TIFFGetField(file_.get(), TIFFTAG_PHOTOMETRIC, &page.photometric)) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  if (page.compression == COMPRESSION_JPEG && page.photometric == PHOTOMETRIC_YCBCR) {
    TIFFSetField(file_.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    page.photometric = PHOTOMETRIC_RGB;
  }
  TIFFGetFieldDefaulted(file_.get(), TIFFTAG_BITSPERSAMPLE, &page.bits);
  TIFFGetFieldDefaulted(file_.get(), TIFFTAG_SAMPLESPERPIXEL, &page.samples);
  TIFFGetFieldDefaulted(file_.get(), TIFFTAG_SAMPLEFORMAT, &page.sample_format);
  TIFFGetFieldDefaulted(file_.get(), TIFFTAG_PLANARCONFIG, &page.planes);
  TIFFGetFieldDefaulted(file_.get(), TIFFTAG_INKSET, &page.ink_set);
  page.colours = ColoursOf(page);
  CheckKind(page);
  if (page.photometric == PHOTOMETRIC_PALETTE &&
      !TIFFGetField(file_.get(), TIFFTAG_COLORMAP, page.palette.data(), &page.palette[1],
                    &page.palette[2])) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  return page;
}

void TiffReader::CheckKind(const TiffPage& page) const {
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

int64_t Ceiling(int64_t dividend, int64_t divisor) { return (dividend + divisor - 1) / divisor; }

TiffTiling TiffReader::ReadTiling(const TiffPage& page) {
  TiffTiling tiling{.tiled = TIFFIsTiled(file_.get()) != 0};
  if (tiling.tiled) {
    TIFFGetField(file_.get(), TIFFTAG_TILELENGTH, &tiling.height);
    TIFFGetField(file_.get(), TIFFTAG_TILEWIDTH, &tiling.width);
    tiling.bytes = TIFFTileSize(file_.get());
    tiling.row_bytes = TIFFTileRowSize(file_.get());
  } else {
    TIFFGetFieldDefaulted(file_.get(), TIFFTAG_ROWSPERSTRIP, &tiling.height);
    tiling.height = std::min(tiling.height, page.height);
    tiling.width = page.width;
    tiling.bytes = TIFFVStripSize(file_.get(), tiling.height);
    tiling.row_bytes = TIFFScanlineSize(file_.get());
  }
  const int64_t interleaved = page.planes == PLANARCONFIG_CONTIG ? page.samples : 1;
  if (file_.failed() || tiling.height < 1 || tiling.width < 1 || tiling.bytes > max_bytes_ ||
      tiling.row_bytes < (int64_t{tiling.width} * interleaved * page.bits + 7) / 8 ||
      tiling.bytes / tiling.height < tiling.row_bytes) {
    throw CorruptFile(ImageFormat::kTiff);
  }
  // Every tile of a picture of one column may be a million columns wide, and packed into a few
  // bytes.
  const int64_t tiles = Ceiling(page.height, tiling.height) * Ceiling(page.width, tiling.width);
  if (tiles > max_bytes_ / tiling.bytes) {
    throw UnsupportedFile(
        ImageFormat::kTiff,
        "has tiles that are much larger than the picture: save it again in strips");
  }
  return tiling;
}

void TiffReader::ReadTile(const TiffTiling& tiling, uint32_t top, uint32_t left, uint16_t plane,
                          std::vector<uint8_t>& bytes) {
  int64_t wanted = tiling.bytes;
  int64_t found = 0;
  if (tiling.tiled) {
    const uint32_t tile = TIFFComputeTile(file_.get(), left, top, 0, plane);
    found = TIFFReadEncodedTile(file_.get(), tile, bytes.data(), wanted);
  } else {
    const uint32_t strip = TIFFComputeStrip(file_.get(), top, plane);
    const auto height = static_cast<uint32_t>(Header().height);
    wanted = TIFFVStripSize(file_.get(), std::min(tiling.height, height - top));
    found = TIFFReadEncodedStrip(file_.get(), strip, bytes.data(), wanted);
  }
  if (found != wanted || file_.failed()) {
    throw CorruptFile(ImageFormat::kTiff);
  }
}

Image TiffReader::Decode() {
  const TiffPage page = ReadPage();
  const TiffTiling tiling = ReadTiling(page);
  const bool separate = page.planes == PLANARCONFIG_SEPARATE;
  TiffTile tile;
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
