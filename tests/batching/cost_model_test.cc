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

double Milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

TEST(CostModel, FollowsASlowerMachineAndComesBack) {
  CostModel cost;
  cost.SetProfile(milliseconds(10), 0);
  for (int i = 0; i < 100; ++i) cost.Observe(0, milliseconds(20));
  EXPECT_NEAR(Milliseconds(cost.Predict(0)), 20, 1);
  EXPECT_EQ(cost.PredictAtBest(0), milliseconds(10));
  for (int i = 0; i < 100; ++i) cost.Observe(0, milliseconds(10));
  EXPECT_NEAR(Milliseconds(cost.Predict(0)), 10, 0.1);
}

TEST(CostModel, ALuckyMomentChangesLittle) {
  CostModel cost;
  cost.SetProfile(milliseconds(10), 0);
  for (int i = 0; i < 5; ++i) cost.Observe(0, milliseconds(1));
  EXPECT_GE(Milliseconds(cost.Predict(0)), 9.5);
  EXPECT_GE(Milliseconds(cost.PredictAtBest(0)), 9.5);
}

TEST(CostModel, AProfileThatWasTakenInABadMomentIsUnlearned) {
  CostModel cost;
  cost.SetProfile(milliseconds(30), 0);
  for (int i = 0; i < 500; ++i) cost.Observe(0, milliseconds(10));
  EXPECT_NEAR(Milliseconds(cost.Predict(0)), 10, 0.5);
  EXPECT_NEAR(Milliseconds(cost.PredictAtBest(0)), 10, 0.5);
}

TEST(CostModel, OneStallPullsItOnlyALittle) {
  CostModel cost;
  cost.SetProfile(milliseconds(10), 0);
  cost.Observe(0, std::chrono::seconds(60));
  EXPECT_LE(cost.Predict(0), milliseconds(14));
}

}  // namespace
}  // namespace spatialmamba
