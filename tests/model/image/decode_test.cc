#include "model/image/decode.h"

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/model/image/image_files.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

constexpr int64_t kMaxPixels = 1'000'000;

const nlohmann::json& Expected() {
  static const nlohmann::json kExpected = [] {
    std::ifstream stream(ImageFolder() / "expected.json");
    return nlohmann::json::parse(stream);
  }();
  return kExpected;
}

std::vector<std::string> Files() {
  std::vector<std::string> files;
  for (const auto& [name, facts] : Expected().items()) {
    files.push_back(name);
  }
  return files;
}

uint64_t HashOf(const nlohmann::json& text) {
  return std::stoull(text.get<std::string>(), nullptr, 16);
}

ImageFormat FormatByExtension(const std::string& name) {
  const std::string extension = std::filesystem::path(name).extension();
  if (extension == ".jpg") {
    return ImageFormat::kJpeg;
  }
  if (extension == ".png") {
    return ImageFormat::kPng;
  }
  return extension == ".webp" ? ImageFormat::kWebP : ImageFormat::kTiff;
}

class DecodeSampleTest : public testing::TestWithParam<std::string> {};

TEST_P(DecodeSampleTest, GivesTheHeaderAndThePixelsThatWereWritten) {
  const nlohmann::json& facts = Expected().at(GetParam());
  const FileBytes file = ReadImageFile(GetParam());
  const ImageHeader header = ReadImageHeader(file, kMaxPixels);
  EXPECT_EQ(header.format, FormatByExtension(GetParam()));
  EXPECT_EQ(header.height, facts.at("height"));
  EXPECT_EQ(header.width, facts.at("width"));
  EXPECT_EQ(header.orientation, facts.at("orientation"));

  const Image stored = DecodeImage(file, header, Orientation::kIgnore);
  EXPECT_EQ(stored.height, header.height);
  EXPECT_EQ(stored.width, header.width);
  EXPECT_EQ(oracle::Fnv1a64(stored.rgb), HashOf(facts.at("stored")));

  const Image upright = DecodeImage(file, header, Orientation::kApply);
  EXPECT_EQ(upright.height, header.orientation >= 5 ? header.width : header.height);
  EXPECT_EQ(upright.width, header.orientation >= 5 ? header.height : header.width);
  EXPECT_EQ(oracle::Fnv1a64(upright.rgb), HashOf(facts.at("upright")));
}

INSTANTIATE_TEST_SUITE_P(Samples, DecodeSampleTest, testing::ValuesIn(Files()),
                         [](const auto& each) {
                           std::string name = each.param;
                           name[name.find('.')] = '_';
                           return name;
                         });

TEST(DecodeTest, TellsTheFormatByContentNotByName) {
  EXPECT_STREQ(Name(ReadImageHeader(ReadImageFile("grey.jpg"), kMaxPixels).format), "JPEG");
  EXPECT_STREQ(Name(ReadImageHeader(ReadImageFile("grey.png"), kMaxPixels).format), "PNG");
  EXPECT_STREQ(Name(ReadImageHeader(ReadImageFile("lossy.webp"), kMaxPixels).format), "WebP");
  EXPECT_STREQ(Name(ReadImageHeader(ReadImageFile("planes.tif"), kMaxPixels).format), "TIFF");
}

TEST(DecodeTest, RefusesAFileOfAnotherSizeThanTheHeaderGiven) {
  for (const char* name : {"grey.jpg", "rgb.png", "lossy.webp", "strips.tif"}) {
    const FileBytes file = ReadImageFile(name);
    ImageHeader header = ReadImageHeader(file, kMaxPixels);
    ++header.height;
    EXPECT_THROW(DecodeImage(file, header, Orientation::kApply), ImageError) << name;
  }
}

}  // namespace
}  // namespace spatialmamba
