#include "batching/batch_plan.h"

#include <vector>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using std::chrono::milliseconds;

const TimePoint kNow{std::chrono::hours(1)};

// Images of 1000 pixels; a batch takes `fixed_ms` and `each_ms` an image.
CostModel Cost(int fixed_ms, int each_ms) {
  CostModel cost;
  cost.SetProfile(milliseconds(fixed_ms), each_ms * 1e-6);
  return cost;
}

std::vector<Candidate> Images(int count, int deadline_ms, int arrived_ms = 0) {
  return std::vector<Candidate>(static_cast<size_t>(count),
                                {.pixels = 1000,
                                 .arrival = kNow + milliseconds(arrived_ms),
                                 .deadline = kNow + milliseconds(deadline_ms)});
}

TEST(BatchPlan, TakesEverythingThatIsReadyIfThereIsTime) {
  const BatchPlan plan = PlanBatch(Images(5, 1000), Cost(2, 8), {.images = 32}, kNow);
  EXPECT_EQ(plan.take, 5);
  EXPECT_EQ(plan.pixels, 5000);
  EXPECT_EQ(plan.cause, CloseCause::kIdle);
}

TEST(BatchPlan, IsBoundedByImagesPixelsAndTime) {
  const CostModel cost = Cost(2, 8);
  const std::vector<Candidate> images = Images(9, 1000);
  EXPECT_EQ(PlanBatch(images, cost, {.images = 3}, kNow).take, 3);
  EXPECT_EQ(PlanBatch(images, cost, {.images = 32, .pixels = 4500}, kNow).take, 4);
  EXPECT_EQ(PlanBatch(images, cost, {.images = 32, .time = milliseconds(20)}, kNow).take, 2);
  EXPECT_EQ(PlanBatch(images, cost, {.images = 3}, kNow).cause, CloseCause::kFull);
}

TEST(BatchPlan, ALargeImageRunsAloneWhateverTheBounds) {
  std::vector<Candidate> images = Images(2, 1000);
  images[0].pixels = 50'000;
  const BatchPlan plan =
      PlanBatch(images, Cost(2, 8), {.images = 32, .pixels = 4000, .time = milliseconds(9)}, kNow);
  EXPECT_EQ(plan.take, 1);
}

TEST(BatchPlan, IsTheLargestThatMeetsTheDeadlineOfItsMostUrgentImage) {
  // 2 + 8 b <= 30: three images, and the fourth would make the first late.
  const BatchPlan plan = PlanBatch(Images(10, 30), Cost(2, 8), {.images = 32}, kNow);
  EXPECT_EQ(plan.take, 3);
  EXPECT_EQ(plan.cause, CloseCause::kDeadline);
}

TEST(BatchPlan, WhatIsLateAnywayIsNotTaken) {
  std::vector<Candidate> images = Images(2, 9);
  const std::vector<Candidate> others = Images(2, 100);
  images.insert(images.end(), others.begin(), others.end());
  const BatchPlan plan = PlanBatch(images, Cost(2, 8), {.images = 32}, kNow);
  EXPECT_EQ(plan.late, 2);
  EXPECT_EQ(plan.shed, 0);
  EXPECT_EQ(plan.take, 2);
}

// Fixed 10 ms, 1 ms an image, a deadline 110 ms after arrival: the sustainable size is 50.
TEST(BatchPlan, UnderBacklogHeadsThatForceASmallBatchAreGivenUp) {
  std::vector<Candidate> images = Images(3, 15, -95);  // allow a batch of five
  const std::vector<Candidate> behind = Images(90, 60, -50);
  images.insert(images.end(), behind.begin(), behind.end());
  const BatchPlan plan = PlanBatch(images, Cost(10, 1), {.images = 64}, kNow);
  EXPECT_EQ(plan.shed, 3);
  EXPECT_EQ(plan.take, 50);
}

TEST(BatchPlan, NothingIsGivenUpIfThereIsTimeForEverything) {
  std::vector<Candidate> images = Images(3, 15, -95);
  const std::vector<Candidate> behind = Images(10, 60, -50);
  images.insert(images.end(), behind.begin(), behind.end());
  const BatchPlan plan = PlanBatch(images, Cost(10, 1), {.images = 64}, kNow);
  EXPECT_EQ(plan.shed, 0);
  EXPECT_EQ(plan.take, 5);
}

TEST(BatchPlan, WithoutBacklogNothingIsGivenUp) {
  const BatchPlan plan = PlanBatch(Images(5, 15, -95), Cost(10, 1), {.images = 64}, kNow);
  EXPECT_EQ(plan.shed, 0);
  EXPECT_EQ(plan.take, 5);
}

// A batch of two of these is nearly as efficient as one of five: giving up its head gains nothing.
TEST(BatchPlan, WhereBatchingGainsLittleNothingIsGivenUp) {
  std::vector<Candidate> images = Images(1, 60, -210);
  const std::vector<Candidate> behind = Images(20, 200, -70);
  images.insert(images.end(), behind.begin(), behind.end());
  const BatchPlan plan = PlanBatch(images, Cost(2, 27), {.images = 32}, kNow);
  EXPECT_EQ(plan.shed, 0);
  EXPECT_EQ(plan.take, 2);
}

TEST(BatchPlan, ABatchDoesNotGrowPastWhatRaisesThroughput) {
  EXPECT_EQ(LongestUsefulBatch(Cost(2, 8)), milliseconds(60));
  EXPECT_EQ(LongestUsefulBatch(CostModel()), Duration::max());
}

}  // namespace
}  // namespace spatialmamba
