#include "model/ops/mask_paste.h"

#include <cmath>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/ops/mask_paste_params.h"
#include "tests/model/ops/golden_input.h"

namespace spatialmamba {
namespace {

using testing::ElementsAre;

// The stretched map's value at a pixel, computed alone.
float Value(const BoxMask& mask, int64_t row, int64_t column) {
  MapPosition down;
  MapPosition across;
  if (!PositionInMap(row, mask.box.top, mask.box.bottom, mask.side, down) ||
      !PositionInMap(column, mask.box.left, mask.box.right, mask.side, across)) {
    return 0;
  }
  const auto at = [&](int64_t i, int64_t j) {
    const bool inside = i >= 0 && i < mask.side && j >= 0 && j < mask.side;
    return inside ? mask.probabilities[static_cast<size_t>(i * mask.side + j)] : 0.0F;
  };
  return Bilinear({at(down.cell, across.cell), at(down.cell, across.cell + 1),
                   at(down.cell + 1, across.cell), at(down.cell + 1, across.cell + 1)},
                  down.to_next, across.to_next);
}

std::vector<uint8_t> Sampled(const BoxMask& mask, const PixelSize& picture) {
  std::vector<uint8_t> bitmap;
  for (int64_t y = 0; y < picture.height; ++y) {
    for (int64_t x = 0; x < picture.width; ++x) bitmap.push_back(Value(mask, y, x) >= 0.5F);
  }
  return bitmap;
}

int64_t Sum(const RunLengths& mask) {
  return std::accumulate(mask.counts.begin(), mask.counts.end(), int64_t{0});
}

TEST(PasteMask, EqualsTheOracle) {
  const oracle::Golden golden = oracle::ReadGolden("paste");
  const PixelSize picture{golden.facts["case"]["height"].get<int64_t>(),
                          golden.facts["case"]["width"].get<int64_t>()};
  const std::vector<float> probabilities = GoldenInput(golden, "probabilities");
  const std::vector<Box> boxes = GoldenBoxes(golden);
  const std::vector<float>& expected = golden.tensors.at("y").values;
  const auto pixels = static_cast<size_t>(picture.height * picture.width);
  std::vector<float> values;
  for (size_t i = 0; i < boxes.size(); ++i) {
    const BoxMask mask{{probabilities.data() + i * 784, 784}, 28, boxes[i]};
    for (int64_t y = 0; y < picture.height; ++y) {
      for (int64_t x = 0; x < picture.width; ++x) values.push_back(Value(mask, y, x));
    }
    const std::vector<uint8_t> bitmap = Bitmap(PasteMask(mask, picture));
    ASSERT_EQ(bitmap.size(), pixels);
    for (size_t p = 0; p < pixels; ++p) {
      const float value = expected[i * pixels + p];
      if (std::abs(value - 0.5F) > 1e-5F) {
        EXPECT_EQ(bitmap[p] != 0, value >= 0.5F) << i << " " << p;
      }
    }
  }
  EXPECT_LE(oracle::LargestError(golden, "y", values), 2e-5);
}

TEST(PasteMask, SetsThePixelsThatSamplingEachAloneSets) {
  std::mt19937_64 generator(5);
  std::uniform_real_distribution<float> uniform(-0.3F, 1.3F);
  std::uniform_real_distribution<float> side(0.0F, 70.0F);
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<float> probabilities(784);  // many of them saturated, as a trained head's
    for (float& p : probabilities) p = std::clamp(uniform(generator), 0.0F, 1.0F);
    const float left = side(generator) - 10;
    const float top = side(generator) - 10;
    const BoxMask mask{
        probabilities, 28, {left, top, left + side(generator), top + side(generator)}};
    const PixelSize picture{50 + trial % 7, 60 - trial % 5};
    const RunLengths runs = PasteMask(mask, picture);
    EXPECT_EQ(Bitmap(runs), Sampled(mask, picture)) << trial;
    EXPECT_EQ(Sum(runs), picture.height * picture.width);
  }
}

TEST(PasteMask, RunsGoDownTheColumns) {
  const std::vector<float> full(784, 1.0F);
  const BoxMask inside{full, 28, {1, 2, 3, 5}};
  EXPECT_THAT(PasteMask(inside, {6, 4}).counts, ElementsAre(8, 3, 3, 3, 7));
  const BoxMask everywhere{full, 28, {0, 0, 4, 6}};
  EXPECT_THAT(PasteMask(everywhere, {6, 4}).counts, ElementsAre(0, 24));
}

TEST(PasteMask, MayBeEmpty) {
  const std::vector<float> none(784, 0.49F);
  EXPECT_THAT(PasteMask({none, 28, {1, 2, 3, 5}}, {6, 4}).counts, ElementsAre(24));
  const std::vector<float> full(784, 1.0F);
  EXPECT_THAT(PasteMask({full, 28, {50, 2, 60, 5}}, {6, 4}).counts, ElementsAre(24));
}

TEST(PasteMask, ABoxWithoutWidthTakesItsMiddleColumnEverywhere) {
  const std::vector<float> full(784, 1.0F);
  EXPECT_THAT(PasteMask({full, 28, {2, 1, 2, 3}}, {4, 3}).counts, ElementsAre(1, 2, 2, 2, 2, 2, 1));
  // A centre that lies exactly on it is 0 / 0, which is outside.
  EXPECT_THAT(PasteMask({full, 28, {1.5F, 1, 1.5F, 3}}, {4, 3}).counts, ElementsAre(1, 2, 6, 2, 1));
}

TEST(PasteMask, OnePixelPicture) {
  const std::vector<float> full(784, 1.0F);
  EXPECT_THAT(PasteMask({full, 28, {0, 0, 1, 1}}, {1, 1}).counts, ElementsAre(0, 1));
}

TEST(PasteMask, RefusesWhatDoesNotFit) {
  const std::vector<float> full(784, 1.0F);
  EXPECT_THROW(PasteMask({full, 27, {0, 0, 1, 1}}, {1, 1}), std::invalid_argument);
  EXPECT_THROW(PasteMask({full, 28, {0, 0, 1, 1}}, {0, 1}), std::invalid_argument);
  EXPECT_THROW(PasteMask({full, 28, {0, 0, NAN, 1}}, {1, 1}), std::invalid_argument);
}

// What pycocotools reads: the counts of a compressed string.
std::vector<int64_t> Expanded(const std::string& text) {
  std::vector<int64_t> counts;
  for (size_t at = 0; at < text.size();) {
    int64_t value = 0;
    int shift = 0;
    int64_t symbol = 0;
    do {
      symbol = text[at++] - 48;
      value |= (symbol & 0x1F) << shift;
      shift += 5;
    } while ((symbol & 0x20) != 0);
    if ((symbol & 0x10) != 0) value |= -(int64_t{1} << shift);
    if (counts.size() > 2) value += counts[counts.size() - 2];
    counts.push_back(value);
  }
  return counts;
}

TEST(CocoCounts, AreThoseOfPycocotools) {
  // Of the oracle: 120 x 160 pixels without a set one; one set pixel.
  EXPECT_EQ(CocoCounts({120, 160, {19200}}), "Phb0");
  const std::vector<int64_t> counts = Expanded("X51kQ10F1g]?");
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), 19200);
  EXPECT_EQ(CocoCounts({120, 160, counts}), "X51kQ10F1g]?");
}

TEST(CocoCounts, ComeBack) {
  std::mt19937_64 generator(6);
  for (const int64_t largest : {int64_t{2}, int64_t{40}, int64_t{3'000'000'000}}) {
    std::uniform_int_distribution<int64_t> length(0, largest);
    RunLengths runs{1, 0, {}};
    for (int i = 0; i < 50; ++i) runs.counts.push_back(length(generator));
    EXPECT_EQ(Expanded(CocoCounts(runs)), runs.counts);
  }
}

TEST(RunLengths, AreaAndBitmap) {
  const RunLengths mask{2, 3, {1, 2, 2, 1}};
  EXPECT_EQ(Area(mask), 3);
  EXPECT_THAT(Bitmap(mask), ElementsAre(0, 1, 0, 1, 0, 1));
}

}  // namespace
}  // namespace spatialmamba
