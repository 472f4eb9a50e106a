#include "model/tasks/tile_labels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "model/ops/resize_argmax.h"
#include "model/runtime/pool_context.h"

namespace spatialmamba {
namespace {

constexpr int64_t kClasses = 5;

// What a network whose logits are smooth functions of the place in the picture would say of a tile.
SegmentOutput Output(const Tile& tile, uint32_t seed, int64_t cell = 4) {
  const PixelSize cells{(tile.height + cell - 1) / cell, (tile.width + cell - 1) / cell};
  SegmentOutput output{.logits_size = cells, .input = {tile.height, tile.width}};
  std::mt19937 random(seed);
  for (int64_t i = 0; i < cells.height * cells.width * kClasses; ++i) {
    output.logits.push_back(static_cast<float>(random() % 1000) / 100.0F);
  }
  output.labels.resize(static_cast<size_t>(tile.height * tile.width));
  output.class_pixels.resize(kClasses);
  ThreadPool pool(1);
  PoolContext context(pool);
  ResizeArgmax(context, {output.logits.data(), cells.height * cells.width, kClasses, kClasses},
               {.from = cells, .between = output.input, .to = {tile.height, tile.width}},
               output.labels, output.class_pixels);
  return output;
}

std::vector<uint16_t> Stitched(const PixelSize& picture, const TileOptions& options,
                               const std::vector<size_t>& order) {
  const std::vector<Tile> tiles = TilePicture(picture, options);
  TileLabels labels(picture, options, kClasses);
  for (size_t i = 0; i < order.size(); ++i) {
    const bool complete = labels.Add(static_cast<int64_t>(order[i]),
                                     Output(tiles[order[i]], static_cast<uint32_t>(order[i])));
    EXPECT_EQ(complete, i + 1 == order.size());
  }
  return labels.TakeLabels();
}

std::vector<size_t> InOrder(size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  return order;
}

TEST(TileLabelsTest, ASinglePictureSizedTileIsTheAnswer) {
  const PixelSize picture{30, 44};
  EXPECT_EQ(Stitched(picture, {.size = 64, .overlap = 8}, {0}), Output({0, 0, 30, 44}, 0).labels);
}

TEST(TileLabelsTest, WhereATileIsAloneTheLabelsAreItsOwn) {
  const PixelSize picture{64, 112};
  const TileOptions options{.size = 64, .overlap = 16};
  const std::vector<uint16_t> labels = Stitched(picture, options, {0, 1});
  const std::vector<uint16_t> left = Output({0, 0, 64, 64}, 0).labels;
  const std::vector<uint16_t> right = Output({0, 48, 64, 64}, 1).labels;
  for (size_t y = 0; y < 64; ++y) {
    for (size_t x = 0; x < 48; ++x) EXPECT_EQ(labels[y * 112 + x], left[y * 64 + x]);
    for (size_t x = 64; x < 112; ++x) EXPECT_EQ(labels[y * 112 + x], right[y * 64 + x - 48]);
  }
}

TEST(TileLabelsTest, WhereTilesMeetTheirBlendedLogitsDecide) {
  // Two classes whose logits are constant within each tile: 1.0 against 0 left, 0 against 0.5
  // right.
  const PixelSize picture{8, 48};
  const TileOptions options{.size = 32, .overlap = 16};
  TileLabels labels(picture, options, 2);
  for (int64_t tile = 0; tile < 2; ++tile) {
    SegmentOutput output{.logits_size = {2, 8}, .input = {8, 32}};
    for (int cell = 0; cell < 16; ++cell) {
      output.logits.push_back(tile == 0 ? 1.0F : 0.0F);
      output.logits.push_back(tile == 0 ? 0.0F : 0.5F);
    }
    output.labels.assign(8 * 32, static_cast<uint16_t>(tile));
    EXPECT_EQ(labels.Add(tile, std::move(output)), tile == 1);
  }
  EXPECT_EQ(labels.CountPixels(), (std::vector<int64_t>{8 * 27, 8 * 21}));
  const std::vector<uint16_t> found = labels.TakeLabels();
  // At 16 + i the left counts 1 - (i + .5) / 16, the right (i + .5) / 16 times a half: they are
  // even where (i + .5) / 16 is two thirds, between 26 and 27.
  for (size_t x = 0; x < 48; ++x) EXPECT_EQ(found[x], x < 27 ? 0 : 1) << x;
}

TEST(TileLabelsTest, NeitherTheOrderNorTheThreadsChangeALabel) {
  const PixelSize picture{150, 171};
  const TileOptions options{.size = 48, .overlap = 13};
  const std::vector<Tile> tiles = TilePicture(picture, options);
  std::vector<size_t> order = InOrder(tiles.size());
  const std::vector<uint16_t> expected = Stitched(picture, options, order);
  std::mt19937 random(3);
  std::shuffle(order.begin(), order.end(), random);
  EXPECT_EQ(Stitched(picture, options, order), expected);

  TileLabels labels(picture, options, kClasses);
  std::atomic<size_t> next = 0;
  std::atomic<int> completed = 0;
  const auto work = [&] {
    for (size_t i = next++; i < order.size(); i = next++) {
      const size_t tile = order[i];
      if (labels.Add(static_cast<int64_t>(tile),
                     Output(tiles[tile], static_cast<uint32_t>(tile)))) {
        ++completed;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(completed, 1);
  EXPECT_EQ(labels.TakeLabels(), expected);
}

TEST(TileLabelsTest, OddSizesAreCoveredWhateverTheOverlap) {
  for (const auto& [height, width, size, overlap] : std::vector<std::array<int64_t, 4>>{
           {33, 70, 32, 16}, {65, 33, 32, 0}, {1, 90, 16, 5}, {47, 47, 16, 8}, {17, 16, 16, 3}}) {
    const PixelSize picture{height, width};
    const TileOptions options{.size = size, .overlap = overlap};
    const auto count = static_cast<size_t>(TileCount(picture, options));
    EXPECT_EQ(Stitched(picture, options, InOrder(count)).size(),
              static_cast<size_t>(height * width));
  }
}

TEST(TileLabelsTest, OutputsThatDoNotFitAreRefused) {
  TileLabels labels({64, 64}, {.size = 64, .overlap = 0}, kClasses);
  EXPECT_THROW(labels.Add(0, Output({0, 0, 32, 64}, 0)), std::invalid_argument);
  SegmentOutput without = Output({0, 0, 64, 64}, 0);
  without.logits.clear();
  EXPECT_THROW(labels.Add(0, without), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
