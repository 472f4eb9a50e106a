#include "model/image/png_writer.h"

#include <span>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "model/image/decode.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

Image Decoded(const std::string& file) {
  const auto bytes = std::as_bytes(std::span(file));
  return DecodeImage(bytes, ReadImageHeader(bytes, 1'000'000), Orientation::kApply);
}

TEST(PngWriter, APictureComesBackAsItWas) {
  const Image image{.height = 33, .width = 47, .rgb = oracle::Image(5, 33, 47)};
  const Image back = Decoded(EncodeRgbPng(image));
  EXPECT_EQ(back.height, 33);
  EXPECT_EQ(back.width, 47);
  EXPECT_EQ(back.rgb, image.rgb);
}

TEST(PngWriter, APaletteGivesEachIndexItsColour) {
  const std::vector<RgbColor> palette = {{1, 2, 3}, {250, 0, 7}, {9, 9, 9}};
  const std::vector<uint8_t> indices = {0, 1, 2, 2, 1, 0};
  const Image back = Decoded(EncodePalettePng(indices, 2, 3, palette));
  EXPECT_EQ(back.rgb, (std::vector<uint8_t>{1, 2, 3, 250, 0, 7, 9, 9, 9,  //
                                            9, 9, 9, 250, 0, 7, 1, 2, 3}));
}

TEST(PngWriter, AMaskIsBlackAndWhite) {
  const std::vector<uint8_t> set = {0, 1, 7, 0};
  const Image back = Decoded(EncodeMaskPng(set, 2, 2));
  EXPECT_EQ(back.rgb, (std::vector<uint8_t>{0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0}));
}

TEST(PngWriter, SixteenBitsAreBigEndianInTheFile) {
  const std::vector<uint16_t> values = {0x0102, 0xFE00};
  const Image back = Decoded(EncodeGrey16Png(values, 1, 2));  // reduced to the high byte
  EXPECT_EQ(back.rgb, (std::vector<uint8_t>{1, 1, 1, 0xFE, 0xFE, 0xFE}));
}

TEST(PngWriter, RefusesWhatDoesNotFit) {
  const std::vector<uint8_t> six(6);
  const std::vector<RgbColor> palette = {{1, 2, 3}};
  EXPECT_THROW(EncodeMaskPng(six, 2, 2), std::invalid_argument);
  EXPECT_THROW(EncodeMaskPng(six, 0, 6), std::invalid_argument);
  EXPECT_THROW(EncodeMaskPng(six, -2, -3), std::invalid_argument);
  EXPECT_THROW(EncodePalettePng(six, 2, 3, {}), std::invalid_argument);
  EXPECT_THROW(EncodePalettePng(std::vector<uint8_t>{1}, 1, 1, palette), std::invalid_argument);
  EXPECT_THROW(EncodePalettePng(six, 2, 3, std::vector<RgbColor>(257)), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
