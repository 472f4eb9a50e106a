#include "model/tasks/classify.h"

#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

TEST(TopClassesTest, OrdersByLogitAndGivesSoftmaxProbabilities) {
  const std::array<float, 3> logits = {0.0F, std::log(6.0F), std::log(3.0F)};
  const std::vector<ClassScore> top = TopClasses(logits, 2);
  ASSERT_EQ(top.size(), 2U);
  EXPECT_EQ(top[0].index, 1);
  EXPECT_FLOAT_EQ(top[0].probability, 0.6F);
  EXPECT_EQ(top[0].logit, logits[1]);
  EXPECT_EQ(top[1].index, 2);
  EXPECT_FLOAT_EQ(top[1].probability, 0.3F);
}

TEST(TopClassesTest, BreaksTiesByLowerIndex) {
  const std::array<float, 5> logits = {1, 2, 2, 1, 2};
  const std::vector<ClassScore> top = TopClasses(logits, 4);
  ASSERT_EQ(top.size(), 4U);
  EXPECT_EQ(top[0].index, 1);
  EXPECT_EQ(top[1].index, 2);
  EXPECT_EQ(top[2].index, 4);
  EXPECT_EQ(top[3].index, 0);
}

TEST(TopClassesTest, GivesAllClassesIfFewerThanAskedFor) {
  const std::array<float, 2> logits = {3, 4};
  EXPECT_EQ(TopClasses(logits, 1000).size(), 2U);
  EXPECT_TRUE(TopClasses(logits, 0).empty());
  EXPECT_TRUE(TopClasses(logits, -1).empty());
  EXPECT_TRUE(TopClasses({}, 5).empty());
}

TEST(TopClassesTest, HugeLogitsDoNotOverflow) {
  const std::array<float, 3> logits = {3e38F, 3e38F, -3e38F};
  const std::vector<ClassScore> top = TopClasses(logits, 3);
  EXPECT_FLOAT_EQ(top[0].probability, 0.5F);
  EXPECT_FLOAT_EQ(top[1].probability, 0.5F);
  EXPECT_EQ(top[2].probability, 0.0F);
}

TEST(TopClassesTest, RefusesLogitsThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::array<float, 3> logits = {1, bad, 2};
    EXPECT_THROW(TopClasses(logits, 1), std::domain_error);
  }
}

}  // namespace
}  // namespace spatialmamba
