#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "model/image/decode.h"

namespace spatialmamba {
namespace {

constexpr std::array<uint8_t, 6> kPixels = {1, 2, 3, 4, 5, 6};

Image Read(int64_t height, int64_t width, PixelLayout layout, int64_t max_pixels = 100) {
  return FromPixels(std::as_bytes(std::span(kPixels)), height, width, layout, max_pixels);
}

ImageError::Reason ReasonOf(int64_t height, int64_t width, PixelLayout layout,
                            int64_t max_pixels = 100) {
  try {
    Read(height, width, layout, max_pixels);
  } catch (const ImageError& error) {
    return error.reason();
  }
  ADD_FAILURE() << "accepted";
  return ImageError::Reason::kEmpty;
}

TEST(FromPixelsTest, TakesEveryLayout) {
  EXPECT_EQ(Read(1, 2, PixelLayout::kRgb).rgb, (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(Read(2, 1, PixelLayout::kBgr).rgb, (std::vector<uint8_t>{3, 2, 1, 6, 5, 4}));
  const Image grey = Read(2, 3, PixelLayout::kGrey);
  EXPECT_EQ(grey.height, 2);
  EXPECT_EQ(grey.width, 3);
  EXPECT_EQ(grey.rgb, (std::vector<uint8_t>{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6}));
}

TEST(FromPixelsTest, RefusesSizesThatDoNotFitTheBytes) {
  EXPECT_EQ(ReasonOf(1, 1, PixelLayout::kRgb), ImageError::Reason::kBadShape);
  EXPECT_EQ(ReasonOf(2, 2, PixelLayout::kRgb), ImageError::Reason::kBadShape);
  EXPECT_EQ(ReasonOf(1, 2, PixelLayout::kGrey), ImageError::Reason::kBadShape);
  EXPECT_EQ(ReasonOf(0, 2, PixelLayout::kRgb), ImageError::Reason::kBadShape);
  EXPECT_EQ(ReasonOf(-1, -2, PixelLayout::kRgb), ImageError::Reason::kBadShape);
  const std::array<std::byte, 7> odd = {};
  EXPECT_THROW(FromPixels(odd, 1, 2, PixelLayout::kRgb, 100), ImageError);
  EXPECT_THROW(FromPixels({}, 1, 1, PixelLayout::kRgb, 100), ImageError);
}

TEST(FromPixelsTest, RefusesMorePixelsThanTheLimitAndSizesThatOverflow) {
  EXPECT_EQ(ReasonOf(2, 3, PixelLayout::kGrey, 5), ImageError::Reason::kTooLarge);
  constexpr int64_t kHuge = int64_t{1} << 62;
  EXPECT_EQ(ReasonOf(kHuge, 4, PixelLayout::kRgb), ImageError::Reason::kTooLarge);
  EXPECT_EQ(ReasonOf(kHuge, 1, PixelLayout::kRgb, std::numeric_limits<int64_t>::max()),
            ImageError::Reason::kBadShape);
}

}  // namespace
}  // namespace spatialmamba
