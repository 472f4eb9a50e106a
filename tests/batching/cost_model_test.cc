#include "batching/cost_model.h"

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using std::chrono::milliseconds;

TEST(CostModel, PredictsNothingUntilItIsProfiled) {
  CostModel cost;
  cost.Observe(1000, milliseconds(5));
  EXPECT_FALSE(cost.profiled());
  EXPECT_EQ(cost.Predict(1000), Duration::zero());
}

TEST(CostModel, IsAFixedPartAndAPartByPixels) {
  CostModel cost;
  cost.SetProfile(milliseconds(2), 1e-6);
  EXPECT_EQ(cost.Predict(0), milliseconds(2));
  EXPECT_NEAR(std::chrono::duration<double>(cost.Predict(10'000)).count(), 0.012, 1e-9);
  EXPECT_NEAR(std::chrono::duration<double>(cost.PredictShare(10'000)).count(), 0.010, 1e-9);
}

TEST(CostModel, FollowsASlowerMachineAndComesBackButNeverBelowTheProfile) {
  CostModel cost;
  cost.SetProfile(milliseconds(10), 0);
  for (int i = 0; i < 100; ++i) cost.Observe(0, milliseconds(20));
  EXPECT_NEAR(std::chrono::duration<double>(cost.Predict(0)).count(), 0.020, 1e-3);
  EXPECT_EQ(cost.PredictAtBest(0), milliseconds(10));
  for (int i = 0; i < 100; ++i) cost.Observe(0, milliseconds(1));
  EXPECT_GE(cost.Predict(0), milliseconds(10));
  EXPECT_LE(cost.Predict(0), milliseconds(11));
}

TEST(CostModel, OneStallPullsItOnlyALittle) {
  CostModel cost;
  cost.SetProfile(milliseconds(10), 0);
  cost.Observe(0, std::chrono::seconds(60));
  EXPECT_LE(cost.Predict(0), milliseconds(14));
}

}  // namespace
}  // namespace spatialmamba
