#include "model/image/resize.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

#include <gtest/gtest.h>

#include "model/ops/instruction_set.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

Image Synthetic(int64_t height, int64_t width) {
  return {.height = height, .width = width, .rgb = oracle::Image(7, height, width)};
}

TEST(ResizeBicubicTest, AWindowEqualsThatPartOfTheWholeResult) {
  const Image image = Synthetic(40, 60);
  for (const auto& [height, width] : {std::pair{17, 23}, std::pair{90, 131}, std::pair{40, 30}}) {
    const Image whole = ResizeBicubic(image, height, width, {.height = height, .width = width});
    const Image part =
        ResizeBicubic(image, height, width, {.top = 3, .left = 5, .height = 10, .width = 11});
    for (int64_t row = 0; row < part.height; ++row) {
      EXPECT_TRUE(
          std::equal(Row(part, row), Row(part, row) + part.width * 3, Row(whole, row + 3) + 15))
          << height << " x " << width << ", row " << row;
    }
  }
}

TEST(ResizeBicubicTest, EveryInstructionSetGivesTheSameBytes) {
  for (const auto& [height, width] :
       {std::pair{17, 23}, std::pair{90, 131}, std::pair{1, 1}, std::pair{200, 7}}) {
    for (const Image& image : {Synthetic(40, 61), Synthetic(1, 1), Synthetic(3, 2)}) {
      const Window all{.height = height, .width = width};
      ForceInstructionSet(InstructionSet::kPlain);
      const Image plain = ResizeBicubic(image, height, width, all);
      for (const InstructionSet set : AvailableInstructionSets()) {
        ForceInstructionSet(set);
        EXPECT_EQ(ResizeBicubic(image, height, width, all).rgb, plain.rgb) << Name(set);
      }
      ForceInstructionSet(std::nullopt);
    }
  }
}

TEST(ResizeTest, TheSameSizeChangesNothing) {
  const Image image = Synthetic(9, 13);
  EXPECT_EQ(ResizeBicubic(image, 9, 13, {.height = 9, .width = 13}).rgb, image.rgb);
  EXPECT_EQ(ResizeBilinear(image, 9, 13).rgb, image.rgb);
}

TEST(ResizeTest, RefusesWindowsAndSizesThatDoNotFit) {
  const Image image = Synthetic(4, 4);
  EXPECT_THROW(ResizeBicubic(image, 8, 8, {.top = 1, .height = 8, .width = 8}),
               std::invalid_argument);
  EXPECT_THROW(ResizeBicubic(image, 8, 8, {.left = -1, .height = 8, .width = 8}),
               std::invalid_argument);
  EXPECT_THROW(ResizeBicubic(image, 8, 0, {.height = 8, .width = 1}), std::invalid_argument);
  EXPECT_THROW(ResizeBilinear(image, 0, 8), std::invalid_argument);
  EXPECT_THROW(ResizeBilinear({.height = 2, .width = 2, .rgb = {1, 2, 3}}, 4, 4),
               std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
