#include "model/tasks/preprocess.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/oracle/golden.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

Image Synthetic(int64_t seed, int64_t height, int64_t width) {
  return {.height = height, .width = width, .rgb = oracle::Image(seed, height, width)};
}

std::string Hash(std::span<const uint8_t> bytes) {
  std::string text(16, '0');
  uint64_t value = oracle::Fnv1a64(bytes);
  for (auto digit = text.rbegin(); digit != text.rend(); ++digit, value >>= 4U) {
    *digit = "0123456789abcdef"[value & 15U];
  }
  return text;
}

PreprocessOptions OptionsOf(const nlohmann::json& facts) {
  const std::string pipeline = facts.at("pipeline");
  if (pipeline == "classification") {
    return {.input = ClassifyInput{}};
  }
  if (pipeline == "detection") {
    return {.input = DetectInput{.scale = facts.at("scale")}};
  }
  return {.input = SegmentInput{.scale = facts.at("scale")}};
}

std::vector<float> ChannelsFirst(const NetworkInput& input) {
  const auto plane = static_cast<size_t>(input.height * input.width);
  std::vector<float> result(plane * 3);
  for (size_t i = 0; i < input.pixels.size(); ++i) {
    result[i % 3 * plane + i / 3] = input.pixels[i];
  }
  return result;
}

class PreprocessGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(PreprocessGoldenTest, GivesTheBytesAndTheImageOfThePublishedPipeline) {
  const oracle::Golden golden = oracle::ReadGolden("preprocess_" + GetParam());
  const nlohmann::json& facts = golden.facts.at("case");
  const nlohmann::json& expected = golden.facts.at("expected");
  const Image image = Synthetic(facts.at("image_seed"), facts.at("height"), facts.at("width"));
  ASSERT_EQ(Hash(image.rgb), expected.at("picture_fnv1a64"));

  const PreprocessOptions options = OptionsOf(facts);
  EXPECT_EQ(Hash(ResizeAndCrop(image, options).rgb), expected.at("bytes_fnv1a64"));

  const NetworkInput input = Preprocess(image, options);
  const nlohmann::json& shape = golden.facts.at("samples").at("image").at("shape");
  EXPECT_EQ(nlohmann::json({3, input.height, input.width}), shape);
  EXPECT_EQ(nlohmann::json({input.valid_height, input.valid_width}), expected.at("valid"));
  EXPECT_LE(oracle::LargestError(golden, "image", ChannelsFirst(input)), 1e-6);

  const NetworkInputSize size = InputSize(image.height, image.width, options);
  EXPECT_EQ(size.height, input.height);
  EXPECT_EQ(size.width, input.width);
}

INSTANTIATE_TEST_SUITE_P(Golden, PreprocessGoldenTest,
                         testing::Values("classification_20x400", "classification_224x224",
                                         "classification_257x256", "classification_300x400",
                                         "classification_50x40", "classification_640x427",
                                         "detection_20x300", "detection_37x53", "detection_480x640",
                                         "detection_800x1333", "detection_901x1350",
                                         "segmentation_33x300", "segmentation_512x512",
                                         "segmentation_601x397", "segmentation_683x512"),
                         [](const auto& each) { return each.param; });

TEST(PreprocessTest, CropZeroTakesThePictureAsItIs) {
  const Image image = Synthetic(1, 5, 7);
  const PreprocessOptions options{.input = ClassifyInput{.crop = 0}};
  EXPECT_EQ(ResizeAndCrop(image, options).rgb, image.rgb);
  const NetworkInput input = Preprocess(image, options);
  EXPECT_EQ(input.height, 5);
  EXPECT_EQ(input.width, 7);
  EXPECT_FLOAT_EQ(input.pixels[4], (static_cast<float>(image.rgb[4]) - 116.28F) / 57.12F);
}

TEST(PreprocessTest, PadsWithZerosBelowAndToTheRightAfterNormalising) {
  const PreprocessOptions options{.input = DetectInput{.scale = {40, 40}, .pad = 32}};
  const NetworkInput input = Preprocess(Synthetic(2, 40, 20), options);
  EXPECT_EQ(input.height, 64);
  EXPECT_EQ(input.width, 32);
  EXPECT_EQ(input.valid_height, 40);
  EXPECT_EQ(input.valid_width, 20);
  const auto at = [&](int64_t row, int64_t column) {
    return input.pixels[static_cast<size_t>((row * 32 + column) * 3)];
  };
  EXPECT_NE(at(39, 19), 0.0F);
  EXPECT_EQ(at(39, 20), 0.0F);
  EXPECT_EQ(at(40, 19), 0.0F);
  EXPECT_EQ(at(63, 31), 0.0F);
}

// A picture of one column would become 256 x 12,800,000 pixels if it were resized whole: 9.8 GB.
TEST(PreprocessTest, AThinPictureCostsNoMoreThanItsCrop) {
  for (const auto& [height, width] : {std::pair{50000, 1}, std::pair{1, 50000}}) {
    const NetworkInput input = Preprocess(Synthetic(3, height, width), {});
    EXPECT_EQ(input.height, 224);
    EXPECT_EQ(input.width, 224);
  }
}

TEST(PreprocessTest, AVeryThinPictureKeepsOnePixel) {
  const PreprocessOptions options{.input = SegmentInput{}};
  const NetworkInputSize size = InputSize(1, 50000, options);
  EXPECT_EQ(size.height, 1);
  EXPECT_EQ(size.width, 2048);
  EXPECT_EQ(Preprocess(Synthetic(4, 1, 50000), options).height, 1);
}

TEST(PreprocessTest, OnePixelIsEnough) {
  const Image image{.height = 1, .width = 1, .rgb = {10, 20, 30}};
  const Image result = ResizeAndCrop(image, {});
  for (size_t byte = 0; byte < 3; ++byte) {
    EXPECT_EQ(result.rgb[byte], image.rgb[byte]);
    EXPECT_EQ(result.rgb[result.rgb.size() - 3 + byte], image.rgb[byte]);
  }
}

TEST(PreprocessTest, RefusesAbsurdSizes) {
  const PreprocessOptions as_it_is{.input = ClassifyInput{.crop = 0}};
  try {
    InputSize(60000, 60000, as_it_is);
    FAIL() << "no exception";
  } catch (const ImageError& error) {
    EXPECT_EQ(error.reason(), ImageError::Reason::kTooLarge);
    EXPECT_EQ(error.limit(), int64_t{1} << 31);
    EXPECT_EQ(error.value(), 3600000000);
  }
  const PreprocessOptions huge{.input = SegmentInput{.scale = {1 << 20, 1 << 20}}};
  EXPECT_THROW(InputSize(10, 10, huge), ImageError);
  EXPECT_THROW(InputSize(int64_t{1} << 62, int64_t{1} << 62, {}), ImageError);
  EXPECT_THROW(InputSize(0, 10, {}), ImageError);
  EXPECT_THROW(InputSize(10, -1, {}), ImageError);
}

TEST(PreprocessTest, RefusesOptionsThatNoPictureSatisfies) {
  const Image image = Synthetic(5, 8, 8);
  EXPECT_THROW(Preprocess(image, {.input = ClassifyInput{.resize_short = 100, .crop = 200}}),
               std::invalid_argument);
  EXPECT_THROW(Preprocess(image, {.input = ClassifyInput{.crop = -1}}), std::invalid_argument);
  EXPECT_THROW(Preprocess(image, {.input = DetectInput{.pad = 0}}), std::invalid_argument);
  EXPECT_THROW(Preprocess(image, {.input = SegmentInput{.scale = {0, 5}}}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
