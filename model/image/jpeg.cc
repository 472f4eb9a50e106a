#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <new>
#include <span>
#include <string_view>
#include <vector>

// jpeglib.h needs <cstdio> before it.
#include <jerror.h>
#include <jpeglib.h>

#include "model/image/cmyk.h"
#include "model/image/codecs.h"
#include "model/image/exif.h"

namespace spatialmamba {
namespace {

// Encoders write about ten scans. Every scan of a progressive file passes over the whole picture,
// so that a small file with very many of them would keep a core busy for minutes.
constexpr int kMaxScans = 100;
constexpr unsigned kMarkerLimit = 0xFFFF;

// Warnings about what does not touch the pixels.
bool IsHarmless(int code) {
  return code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR ||
         code == JWRN_BOGUS_ICC;
}

bool IsUnsupported(int code) {
  return code == JERR_SOF_UNSUPPORTED || code == JERR_BAD_PRECISION || code == JERR_ARITH_NOTIMPL ||
         code == JERR_CONVERSION_NOTIMPL || code == JERR_IMAGE_TOO_BIG ||
         code == JERR_COMPONENT_COUNT;
}

// libjpeg's decoder over a file in memory. It reports errors by longjmp, so that every call goes
// through Guarded, and what happens inside holds no objects with destructors.
class JpegReader {
 public:
  JpegReader() {
    decoder_.err = jpeg_std_error(&errors_);
    decoder_.client_data = this;
    errors_.error_exit = [](j_common_ptr decoder) { Of(decoder).Fail(); };
    errors_.emit_message = [](j_common_ptr decoder, int level) {
      if (level < 0 && !IsHarmless(decoder->err->msg_code)) {
        Of(decoder).Fail();
      }
    };
    errors_.output_message = [](j_common_ptr) {};
    progress_.progress_monitor = [](j_common_ptr decoder) { Of(decoder).CheckScans(); };
  }
  ~JpegReader() { jpeg_destroy_decompress(&decoder_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Reads up to the first scan. To be called once, before all else.
  void Open(std::span<const std::byte> file) {
    Guarded([&] {
      jpeg_create_decompress(&decoder_);
      decoder_.progress = &progress_;
      jpeg_mem_src(&decoder_, reinterpret_cast<const unsigned char*>(file.data()),
                   static_cast<unsigned long>(file.size()));
      jpeg_save_markers(&decoder_, JPEG_APP0 + 1, kMarkerLimit);
      jpeg_read_header(&decoder_, TRUE);
    });
  }

  ImageHeader Header() const {
    return {.format = ImageFormat::kJpeg,
            .height = decoder_.image_height,
            .width = decoder_.image_width,
            .orientation = StoredOrientation()};
  }

  Image Decode();

 private:
  static JpegReader& Of(j_common_ptr decoder) {
    return *static_cast<JpegReader*>(decoder->client_data);
  }

  // noreturn: leaves libjpeg for the Guarded that called it.
  [[noreturn]] void Fail() { std::longjmp(jump_, 1); }

  void CheckScans() {
    if (decoder_.input_scan_number > kMaxScans) {
      too_many_scans_ = true;
      Fail();
    }
  }

  template <typename Step>
  void Guarded(Step step) {
    if (setjmp(jump_) != 0) {
      ThrowFailure();
    }
    step();
  }

  [[noreturn]] void ThrowFailure() {
    if (too_many_scans_) {
      throw UnsupportedFile(ImageFormat::kJpeg, "has more than 100 scans: save it again");
    }
    if (errors_.msg_code == JERR_OUT_OF_MEMORY) {
      throw std::bad_alloc();
    }
    if (IsUnsupported(errors_.msg_code)) {
      throw UnsupportedFile(ImageFormat::kJpeg,
                            "is of a rare kind that is not supported: save it again as a common "
                            "(baseline or progressive, 8-bit) JPEG or as PNG");
    }
    throw CorruptFile(ImageFormat::kJpeg);
  }

  int StoredOrientation() const;

  jpeg_decompress_struct decoder_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf jump_ = {};
  bool too_many_scans_ = false;
};

int JpegReader::StoredOrientation() const {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  for (const jpeg_marker_struct* marker = decoder_.marker_list; marker != nullptr;
       marker = marker->next) {
    const std::string_view text(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (marker->marker == JPEG_APP0 + 1 && text.starts_with(kPrefix)) {
      return ExifOrientation(std::as_bytes(std::span(marker->data, marker->data_length)));
    }
  }
  return 1;
}

// Every CMYK file is taken to be inverted, 255 meaning no ink, as the programs that write such
// files do.
void InvertedCmykToRgb(std::span<const uint8_t> row, uint8_t* rgb) {
  for (size_t i = 0; i < row.size(); i += 4) {
    const auto ink = [&](size_t channel) { return static_cast<uint8_t>(255 - row[i + channel]); };
    rgb = std::ranges::copy(CmykToRgb({ink(0), ink(1), ink(2), ink(3)}), rgb).out;
  }
}

Image JpegReader::Decode() {
  const bool four = decoder_.jpeg_color_space == JCS_CMYK || decoder_.jpeg_color_space == JCS_YCCK;
  // The slow, exact transform and smooth upsampling, libjpeg's defaults, are stated: the bytes
  // depend on them.
  decoder_.out_color_space = four ? JCS_CMYK : JCS_RGB;
  decoder_.dct_method = JDCT_ISLOW;
  decoder_.do_fancy_upsampling = TRUE;
  Image image = BlackImage(decoder_.image_height, decoder_.image_width);
  std::vector<uint8_t> inks(four ? static_cast<size_t>(image.width * 4) : 0);
  Guarded([&] {
    jpeg_start_decompress(&decoder_);
    while (decoder_.output_scanline < decoder_.output_height) {
      uint8_t* target = Row(image, decoder_.output_scanline);
      JSAMPROW row = four ? inks.data() : target;
      jpeg_read_scanlines(&decoder_, &row, 1);
      if (four) {
        InvertedCmykToRgb(inks, target);
      }
    }
    jpeg_finish_decompress(&decoder_);
  });
  return image;
}

}  // namespace

ImageHeader ReadJpegHeader(std::span<const std::byte> file) {
  JpegReader reader;
  reader.Open(file);
  return reader.Header();
}

Image DecodeJpeg(std::span<const std::byte> file, const ImageHeader& header) {
  JpegReader reader;
  reader.Open(file);
  const ImageHeader found = reader.Header();
  if (found.height != header.height || found.width != header.width) {
    throw CorruptFile(ImageFormat::kJpeg);
  }
  return reader.Decode();
}

}  // namespace spatialmamba
