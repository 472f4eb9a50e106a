#include "model/tasks/tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace spatialmamba {
namespace {

TEST(TilesTest, APictureThatFitsIsOneTileOfItsOwnSize) {
  EXPECT_EQ(TilePicture({40, 64}, {.size = 64, .overlap = 8}), (std::vector<Tile>{{0, 0, 40, 64}}));
}

TEST(TilesTest, TilesCoverEveryPixelAndShareAtLeastTheOverlap) {
  for (int64_t length = 1; length < 400; ++length) {
    const TileOptions options{.size = 64, .overlap = 20};
    const std::vector<int64_t> at = TilePositions(length, options);
    EXPECT_EQ(at.front(), 0);
    if (at.size() == 1) {
      EXPECT_LE(length, 64);
      continue;
    }
    EXPECT_EQ(at.back(), length - 64) << length;
    for (size_t i = 1; i < at.size(); ++i) {
      EXPECT_GT(at[i], at[i - 1]) << length;
      EXPECT_LE(at[i] - at[i - 1], 64 - 20) << length;
    }
    // One tile fewer could not do it.
    const auto fewer = static_cast<int64_t>(at.size()) - 1;
    EXPECT_LT(64 + (fewer - 1) * (64 - 20), length);
  }
}

TEST(TilesTest, ThereAreAsManyAsWasCounted) {
  const TileOptions options{.size = 50, .overlap = 0};
  const std::vector<Tile> tiles = TilePicture({120, 50}, options);
  EXPECT_EQ(TileCount({120, 50}, options), 3);
  EXPECT_EQ(tiles, (std::vector<Tile>{{0, 0, 50, 50}, {35, 0, 50, 50}, {70, 0, 50, 50}}));
}

TEST(TilesTest, CountingIsSafeForThePicturesThatAreRefused) {
  EXPECT_EQ(TileCount({2'000'000'000, 2'000'000'000}, {.size = 2, .overlap = 1}),
            1'999'999'999LL * 1'999'999'999LL);
}

TEST(TilesTest, OptionsThatNoPictureFitsAreRefused) {
  EXPECT_THROW(TilePositions(100, {.size = 0, .overlap = 0}), std::invalid_argument);
  EXPECT_THROW(TilePositions(100, {.size = 10, .overlap = 6}), std::invalid_argument);
  EXPECT_THROW(TilePositions(100, {.size = 10, .overlap = -1}), std::invalid_argument);
  EXPECT_THROW(TilePositions(0, {.size = 10, .overlap = 1}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
