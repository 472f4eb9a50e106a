#include "model/ops/nms.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/ops/golden_input.h"

namespace spatialmamba {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class NmsGolden : public testing::TestWithParam<const char*> {
 protected:
  NmsGolden() : golden_(oracle::ReadGolden(GetParam())), boxes_(GoldenBoxes(golden_)) {
    scores_ = GoldenInput(golden_, "scores");
    const auto count = golden_.facts["case"]["groups"].get<int64_t>();
    for (int64_t i = 0; i < static_cast<int64_t>(boxes_.size()); ++i) groups_.push_back(i % count);
    overlap_ = golden_.facts["case"]["overlap"].get<double>();
    for (const float index : golden_.tensors.at("kept").values) {
      expected_.push_back(static_cast<int64_t>(index));
    }
  }

  oracle::Golden golden_;
  std::vector<Box> boxes_;
  std::vector<float> scores_;
  std::vector<int64_t> groups_;
  double overlap_ = 0;
  std::vector<int64_t> expected_;
};
INSTANTIATE_TEST_SUITE_P(, NmsGolden, testing::Values("nms", "nms_many"));

TEST_P(NmsGolden, KeepsTheSameBoxesInTheSameOrder) {
  EXPECT_EQ(Nms(boxes_, scores_, groups_, {.overlap = overlap_}), expected_);
}

TEST_P(NmsGolden, ALimitKeepsTheBestOfThem) {
  expected_.resize(37);
  EXPECT_EQ(Nms(boxes_, scores_, groups_, {.overlap = overlap_, .limit = 37}), expected_);
}

TEST(Nms, OfEqualScoresTheLowerIndexWins) {
  const std::vector<Box> boxes = {{0, 0, 10, 10}, {50, 0, 60, 10}, {0, 0, 10, 10}};
  const std::vector<float> scores = {0.5F, 0.5F, 0.5F};
  const std::vector<int64_t> groups = {0, 0, 0};
  EXPECT_THAT(Nms(boxes, scores, groups, {}), ElementsAre(0, 1));
}

TEST(Nms, OnlyALargerOverlapSuppresses) {
  const std::vector<Box> boxes = {{0, 0, 10, 10}, {0, 0, 10, 5}};  // overlap 0.5 exactly
  const std::vector<float> scores = {0.9F, 0.8F};
  const std::vector<int64_t> groups = {0, 0};
  EXPECT_THAT(Nms(boxes, scores, groups, {.overlap = 0.5}), ElementsAre(0, 1));
  EXPECT_THAT(Nms(boxes, scores, groups, {.overlap = 0.499}), ElementsAre(0));
}

TEST(Nms, BoxesOfOtherGroupsDoNotCount) {
  const std::vector<Box> boxes(3, Box{0, 0, 10, 10});
  const std::vector<float> scores = {0.1F, 0.3F, 0.2F};
  const std::vector<int64_t> groups = {7, 0, 7};
  EXPECT_THAT(Nms(boxes, scores, groups, {}), ElementsAre(1, 2));
}

TEST(Nms, AnEmptyBoxNeitherSuppressesNorIsSuppressed) {
  const std::vector<Box> boxes = {{5, 5, 5, 5}, {0, 0, 10, 10}, {5, 5, 5, 5}};
  const std::vector<float> scores = {0.9F, 0.8F, 0.7F};
  const std::vector<int64_t> groups = {0, 0, 0};
  EXPECT_THAT(Nms(boxes, scores, groups, {.overlap = 0}), ElementsAre(0, 1, 2));
}

TEST(Nms, NothingGivesNothing) {
  EXPECT_THAT(Nms({}, {}, {}, {}), IsEmpty());
  const std::vector<Box> boxes = {{0, 0, 1, 1}};
  const std::vector<float> scores = {1};
  const std::vector<int64_t> groups = {0};
  EXPECT_THAT(Nms(boxes, scores, groups, {.limit = 0}), IsEmpty());
}

TEST(Nms, RefusesWhatItCannotOrder) {
  const std::vector<Box> boxes = {{0, 0, 1, 1}};
  const std::vector<Box> negative = {{-1, 0, 1, 1}};
  const std::vector<float> scores = {1};
  const std::vector<float> no_number = {std::numeric_limits<float>::quiet_NaN()};
  const std::vector<int64_t> groups = {0};
  const std::vector<int64_t> negative_group = {-1};
  EXPECT_THROW(Nms(negative, scores, groups, {}), std::invalid_argument);
  EXPECT_THROW(Nms(boxes, no_number, groups, {}), std::invalid_argument);
  EXPECT_THROW(Nms(boxes, scores, negative_group, {}), std::invalid_argument);
  EXPECT_THROW(Nms(boxes, {}, groups, {}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
