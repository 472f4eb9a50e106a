#include "batching/running_quantile.h"

#include <random>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

TEST(RunningQuantile, RestsWhereTheShareLiesBelow) {
  std::mt19937 random(1);
  std::exponential_distribution<double> values(1);
  RunningQuantile quantile(0.95);
  int below = 0;
  for (int i = 0; i < 20'000; ++i) {
    const double value = values(random);
    if (i >= 1000) below += value <= quantile.value() ? 1 : 0;
    quantile.Observe(value);
  }
  EXPECT_NEAR(below / 19'000.0, 0.95, 0.02);
}

TEST(RunningQuantile, FollowsValuesThatMoveUpAndDown) {
  RunningQuantile quantile(0.9);
  EXPECT_EQ(quantile.value(), 0);
  for (int i = 0; i < 500; ++i) quantile.Observe(10);
  EXPECT_NEAR(quantile.value(), 10, 1);
  for (int i = 0; i < 2000; ++i) quantile.Observe(-3);
  EXPECT_NEAR(quantile.value(), -3, 1);
}

TEST(RunningQuantile, AStallOfTheMachineMovesItLittle) {
  RunningQuantile quantile(0.98);
  for (int i = 0; i < 1000; ++i) quantile.Observe(i % 2);
  const double before = quantile.value();
  for (int i = 0; i < 10; ++i) quantile.Observe(1000);
  EXPECT_LT(quantile.value(), before + 5);
}

}  // namespace
}  // namespace spatialmamba
