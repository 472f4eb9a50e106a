#include "model/tasks/detect.h"

#include <cmath>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/runtime/pool_context.h"
#include "tests/model/net/detect_fixture.h"

namespace spatialmamba {
namespace {

using testing::ElementsAre;

constexpr double kBoxTolerance = 0.02;  // of tests/oracle/README.md

// Pixels that are set in one of both.
int64_t Difference(const RunLengths& a, const RunLengths& b) {
  const std::vector<uint8_t> x = Bitmap(a);
  const std::vector<uint8_t> y = Bitmap(b);
  int64_t different = 0;
  for (size_t i = 0; i < x.size(); ++i) different += x[i] != y[i] ? 1 : 0;
  return different;
}

// The run lengths of a compressed string, the inverse of CocoCounts.
RunLengths Expanded(const std::string& text, const PixelSize& size) {
  RunLengths mask{size.height, size.width, {}};
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
    if (mask.counts.size() > 2) value += mask.counts[mask.counts.size() - 2];
    mask.counts.push_back(value);
  }
  return mask;
}

class DetectGolden : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, DetectGolden,
                         testing::Values("micro_landscape", "micro_portrait", "micro_thumbnail",
                                         "micro_wide", "micro_twenty_classes", "micro_nothing",
                                         "micro_many", "tiny_small", "tiny_full"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(DetectGolden, BoxesAndMasksInTheOriginalPictureEqualTheOracles) {
  const DetectCase test(std::string("detection_") + GetParam());
  const MaskRcnn network = test.Network();
  const DetectPicture picture = test.Picture();
  const DetectBatch batch({picture});
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  const DetectOutput output =
      network.Forward(context, arena, batch.view(), batch.spans, batch.queries)[0];
  const std::vector<DetectedObject> objects =
      ToObjects(context, output, {picture.original, picture.query.valid});

  const std::vector<Box> boxes = test.Boxes("boxes");
  ASSERT_EQ(objects.size(), boxes.size());
  for (size_t i = 0; i < boxes.size(); ++i) {
    EXPECT_LE(BoxError(objects[i].box, boxes[i]), kBoxTolerance) << i;
    const nlohmann::json& expected = test.expected["masks"][i];
    ASSERT_TRUE(objects[i].mask.has_value());
    const RunLengths& mask = *objects[i].mask;
    const auto doubtful = expected["doubtful"].get<int64_t>();
    EXPECT_LE(std::abs(Area(mask) - expected["area"].get<int64_t>()), doubtful) << i;
    const auto counts = expected["counts"].get<std::string>();
    EXPECT_LE(Difference(mask, Expanded(counts, picture.original)), doubtful) << i;
    const CocoMask coco = ToCoco(mask);
    EXPECT_EQ(coco.height, picture.original.height);
    EXPECT_EQ(coco.width, picture.original.width);
    if (doubtful == 0) {
      EXPECT_EQ(coco.counts, counts) << i;
    }
  }
}

// From the oracle's own boxes and probabilities, every string is the oracle's.
TEST_P(DetectGolden, PastingTheOraclesMasksGivesItsStrings) {
  const DetectCase test(std::string("detection_") + GetParam());
  DetectOutput output;
  const auto masks = test.golden.tensors.find("mask_probabilities");  // not where nothing is found
  if (masks != test.golden.tensors.end()) output.mask_probabilities = masks->second.values;
  const PixelSize original{test.facts["height"].get<int64_t>(), test.facts["width"].get<int64_t>()};
  const std::vector<Box> boxes = test.Boxes("boxes");
  const size_t count = output.mask_probabilities.size() / (kMaskSide * kMaskSide);
  for (size_t i = 0; i < count; ++i) output.detections.push_back({boxes[i], 0.5F, 0});
  ThreadPool pool(2);
  PoolContext context(pool);
  const std::vector<DetectedObject> objects = ToObjects(context, output, {original, original});
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(CocoCounts(*objects[i].mask), test.expected["masks"][i]["counts"].get<std::string>())
        << i;
  }
}

class ToObjectsTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  PoolContext context_{pool_};
};

TEST_F(ToObjectsTest, EachAxisHasItsOwnRatio) {
  const DetectOutput output{.detections = {{{10, 20, 30, 40}, 0.75F, 7}}, .mask_probabilities = {}};
  const std::vector<DetectedObject> objects = ToObjects(context_, output, {{50, 400}, {100, 200}});
  ASSERT_EQ(objects.size(), 1U);
  EXPECT_EQ(objects[0].box, (Box{20, 10, 60, 20}));
  EXPECT_EQ(objects[0].score, 0.75F);
  EXPECT_EQ(objects[0].label, 7);
  EXPECT_FALSE(objects[0].mask.has_value());
}

TEST_F(ToObjectsTest, MasksHaveTheSizeOfTheOriginalPicture) {
  DetectOutput output{.detections = {{{2, 0, 4, 2}, 0.9F, 1}, {{0, 0, 2, 2}, 0.8F, 2}},
                      .mask_probabilities = std::vector<float>(784, 1.0F)};
  output.mask_probabilities.resize(2 * 784, 0.0F);
  const std::vector<DetectedObject> objects = ToObjects(context_, output, {{2, 8}, {2, 4}});
  EXPECT_EQ(objects[0].box, (Box{4, 0, 8, 2}));
  EXPECT_THAT(objects[0].mask->counts, ElementsAre(8, 8));
  EXPECT_THAT(objects[1].mask->counts, ElementsAre(16));  // empty, but the object stays
}

TEST_F(ToObjectsTest, NothingFoundGivesNothing) {
  EXPECT_TRUE(ToObjects(context_, {}, {{1, 1}, {800, 800}}).empty());
}

TEST_F(ToObjectsTest, RefusesWhatDoesNotFit) {
  const DetectOutput output{.detections = {{{2, 0, 4, 2}, 0.9F, 1}},
                            .mask_probabilities = std::vector<float>(783, 1.0F)};
  EXPECT_THROW(ToObjects(context_, output, {{1, 1}, {1, 1}}), std::invalid_argument);
  EXPECT_THROW(ToObjects(context_, {}, {{0, 1}, {1, 1}}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
