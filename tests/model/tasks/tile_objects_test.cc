#include "model/tasks/tile_objects.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace spatialmamba {
namespace {

constexpr PixelSize kPicture{100, 180};
const Tile kLeft{0, 0, 100, 100};
const Tile kRight{0, 80, 100, 100};  // they share columns 80 to 100

// A filled rectangle, in pixels of its tile.
DetectedObject Rectangle(const Tile& tile, const Box& box, float score, int64_t label = 0) {
  DetectedObject object{.box = box, .score = score, .label = label, .mask = RunLengths()};
  object.mask->height = tile.height;
  object.mask->width = tile.width;
  const auto top = static_cast<int64_t>(box.top);
  const auto bottom = static_cast<int64_t>(box.bottom);
  int64_t end = 0;
  for (auto x = static_cast<int64_t>(box.left); x < static_cast<int64_t>(box.right); ++x) {
    object.mask->counts.push_back(x * tile.height + top - end);
    object.mask->counts.push_back(bottom - top);
    end = x * tile.height + bottom;
  }
  object.mask->counts.push_back(tile.height * tile.width - end);
  return object;
}

std::vector<DetectedObject> Merge(const std::vector<TileObjects>& tiles, int64_t limit = 100) {
  return MergeTileObjects(tiles, kPicture, {.limit = limit});
}

std::vector<DetectedObject> WithoutMasks(std::vector<DetectedObject> objects) {
  for (DetectedObject& object : objects) object.mask.reset();
  return objects;
}

TEST(TileObjectsTest, AnObjectThatBothTilesSeeWholeIsTheBetterView) {
  const auto found = Merge({{kLeft, {Rectangle(kLeft, {84, 10, 94, 20}, 0.7F)}},
                            {kRight, {Rectangle(kRight, {5, 10, 14, 20}, 0.9F)}}});
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].box, (Box{85, 10, 94, 20}));
  EXPECT_FLOAT_EQ(found[0].score, 0.9F);
  EXPECT_EQ(Area(*found[0].mask), 90);
  EXPECT_EQ(found[0].mask->width, kPicture.width);
}

TEST(TileObjectsTest, TheWholeViewWinsOverABetterPiece) {
  const auto found = Merge({{kLeft, {Rectangle(kLeft, {70, 10, 92, 20}, 0.6F)}},
                            {kRight, {Rectangle(kRight, {0, 10, 12, 20}, 0.9F)}}});
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].box, (Box{70, 10, 92, 20}));
  EXPECT_FLOAT_EQ(found[0].score, 0.9F);
}

TEST(TileObjectsTest, PiecesOfAnObjectThatNoTileSeesWholeAreJoined) {
  const std::vector<TileObjects> tiles = {{kLeft, {Rectangle(kLeft, {40, 10, 100, 30}, 0.8F)}},
                                          {kRight, {Rectangle(kRight, {0, 10, 50, 30}, 0.6F)}}};
  const auto found = Merge(tiles);
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].box, (Box{40, 10, 130, 30}));
  EXPECT_EQ(Area(*found[0].mask), 90 * 20);

  const auto boxes =
      Merge({{kLeft, WithoutMasks(tiles[0].objects)}, {kRight, WithoutMasks(tiles[1].objects)}});
  ASSERT_EQ(boxes.size(), 1);
  EXPECT_EQ(boxes[0].box, found[0].box);
  EXPECT_FALSE(boxes[0].mask);
}

TEST(TileObjectsTest, NeighboursOfOneTileAreNotJoinedByAnother) {
  // The right tile takes two for one.
  const auto found = Merge(
      {{kLeft,
        {Rectangle(kLeft, {60, 10, 100, 20}, 0.9F), Rectangle(kLeft, {60, 20, 100, 30}, 0.8F)}},
       {kRight, {Rectangle(kRight, {0, 10, 30, 28}, 0.5F)}}});
  ASSERT_EQ(found.size(), 2);
  EXPECT_EQ(found[0].box, (Box{60, 10, 110, 28}));
  EXPECT_EQ(found[1].box, (Box{60, 20, 100, 30}));
}

TEST(TileObjectsTest, MasksTellApartWhatBoxesDoNot) {
  // Two triangles of one square: their boxes are equal, their pixels are not.
  DetectedObject lower = Rectangle(kLeft, {80, 0, 100, 20}, 0.9F);
  DetectedObject upper = Rectangle(kRight, {0, 0, 20, 20}, 0.8F);
  lower.mask->counts.clear();
  // Column x: the lower one has rows [20 - x, 20), the upper one rows [0, 20 - x).
  int64_t end = 0;
  for (int64_t x = 1; x < 20; ++x) {
    const int64_t from = (80 + x) * 100 + 20 - x;
    lower.mask->counts.push_back(from - end);
    lower.mask->counts.push_back(x);
    end = from + x;
  }
  lower.mask->counts.push_back(100 * 100 - end);
  upper.mask->counts.clear();
  end = 0;
  for (int64_t x = 0; x < 20; ++x) {
    upper.mask->counts.push_back(x * 100 - end);
    upper.mask->counts.push_back(20 - x);
    end = x * 100 + 20 - x;
  }
  upper.mask->counts.push_back(100 * 100 - end);
  const auto found = MergeTileObjects(std::vector<TileObjects>{{kLeft, {lower}}, {kRight, {upper}}},
                                      kPicture, {.nms_overlap = 1, .limit = 100});
  EXPECT_EQ(found.size(), 2);
}

TEST(TileObjectsTest, ClassesAreNotMixed) {
  EXPECT_EQ(Merge({{kLeft, {Rectangle(kLeft, {84, 10, 94, 20}, 0.7F, 0)}},
                   {kRight, {Rectangle(kRight, {4, 10, 14, 20}, 0.9F, 1)}}})
                .size(),
            2);
}

TEST(TileObjectsTest, BestScoresComeFirstAndTheLimitHolds) {
  const std::vector<TileObjects> tiles = {
      {kLeft, {Rectangle(kLeft, {0, 0, 10, 10}, 0.9F), Rectangle(kLeft, {20, 0, 30, 10}, 0.4F)}},
      {kRight, {Rectangle(kRight, {60, 0, 70, 10}, 0.6F)}}};
  const auto found = Merge(tiles);
  ASSERT_EQ(found.size(), 3);
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end(),
                             [](const auto& a, const auto& b) { return a.score > b.score; }));
  EXPECT_EQ(found[1].box, (Box{140, 0, 150, 10}));
  EXPECT_EQ(Merge(tiles, 2).size(), 2);
}

TEST(TileObjectsTest, NothingFoundIsNothing) {
  EXPECT_TRUE(Merge({{kLeft, {}}, {kRight, {}}}).empty());
}

}  // namespace
}  // namespace spatialmamba
