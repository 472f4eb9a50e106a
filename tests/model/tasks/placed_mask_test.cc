#include "model/tasks/placed_mask.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

namespace spatialmamba {
namespace {

// Row-major, one byte a pixel.
using Pixels = std::vector<uint8_t>;

RunLengths ToRuns(const Pixels& pixels, int64_t height, int64_t width) {
  RunLengths mask{.height = height, .width = width, .counts = {0}};
  uint8_t value = 0;
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t y = 0; y < height; ++y) {
      const uint8_t pixel = pixels[static_cast<size_t>(y * width + x)];
      if (pixel != value) mask.counts.push_back(0);
      value = pixel;
      ++mask.counts.back();
    }
  }
  return mask;
}

Pixels Random(std::mt19937& random, int64_t height, int64_t width) {
  Pixels pixels(static_cast<size_t>(height * width));
  const auto density = random() % 11;
  for (uint8_t& pixel : pixels) pixel = random() % 10 < density ? 1 : 0;
  return pixels;
}

Pixels OnPicture(const Pixels& mask, const Tile& tile, const PixelSize& picture) {
  Pixels pixels(static_cast<size_t>(picture.height * picture.width));
  for (int64_t y = 0; y < tile.height; ++y) {
    for (int64_t x = 0; x < tile.width; ++x) {
      pixels[static_cast<size_t>((tile.top + y) * picture.width + tile.left + x)] =
          mask[static_cast<size_t>(y * tile.width + x)];
    }
  }
  return pixels;
}

TEST(PlacedMaskTest, AreasUnionsAndPicturesAreThoseOfBitmaps) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const PixelSize picture{9, 11};
    const Tile first{static_cast<int64_t>(random() % 4), static_cast<int64_t>(random() % 5), 5, 6};
    const Tile second{static_cast<int64_t>(random() % 4), static_cast<int64_t>(random() % 5), 5, 6};
    const Tile region{2, 3, 4, 5};
    const Pixels a = Random(random, 5, 6);
    const Pixels b = Random(random, 5, 6);
    const PlacedMask placed_a(ToRuns(a, 5, 6), first);
    const PlacedMask placed_b(ToRuns(b, 5, 6), second);
    const Pixels on_a = OnPicture(a, first, picture);
    const Pixels on_b = OnPicture(b, second, picture);
    Pixels either(on_a.size());
    int64_t area = 0;
    int64_t shared = 0;
    for (int64_t y = 0; y < picture.height; ++y) {
      for (int64_t x = 0; x < picture.width; ++x) {
        const auto i = static_cast<size_t>(y * picture.width + x);
        either[i] = on_a[i] | on_b[i];
        const bool inside = y >= 2 && y < 6 && x >= 3 && x < 8;
        area += inside ? on_a[i] : 0;
        shared += inside ? on_a[i] & on_b[i] : 0;
      }
    }
    EXPECT_EQ(placed_a.AreaIn(region), area);
    EXPECT_EQ(placed_a.SharedIn(placed_b, region), shared);
    EXPECT_EQ(placed_b.SharedIn(placed_a, region), shared);
    EXPECT_EQ(Bitmap(placed_a.InPicture(picture)), on_a);
    EXPECT_EQ(Bitmap(placed_a.Union(placed_b).InPicture(picture)), either);
  }
}

TEST(PlacedMaskTest, APictureMaskHasTheRunsThatCocoExpects) {
  const Tile all{0, 0, 4, 3};
  for (const Pixels& pixels : {Pixels(12, 0), Pixels(12, 1)}) {
    const RunLengths mask = ToRuns(pixels, 4, 3);
    EXPECT_EQ(PlacedMask(mask, all).InPicture({4, 3}), mask);
  }
}

TEST(PlacedMaskTest, MasksThatDoNotFitAreRefused) {
  const RunLengths mask = ToRuns(Pixels(12, 1), 4, 3);
  EXPECT_THROW(PlacedMask(mask, {0, 0, 3, 4}), std::invalid_argument);
  EXPECT_THROW(PlacedMask(mask, {1, 0, 4, 3}).InPicture({4, 3}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
