#include "batching/batch_queue.h"

#include <gtest/gtest.h>

#include "tests/batching/recorded_task.h"

namespace spatialmamba {
namespace {

using std::chrono::milliseconds;

const TimePoint kNow{std::chrono::hours(1)};

class BatchQueueTest : public testing::Test {
 protected:
  void Push(int id, int deadline_ms, int64_t pixels = 100,
            std::shared_ptr<std::atomic<bool>> cancelled = nullptr) {
    const TaskInfo info{.pixels = pixels,
                        .bytes = 10,
                        .prepare_bytes = 50,
                        .ready_bytes = 30,
                        .arrival = kNow + milliseconds(id),
                        .deadline = kNow + milliseconds(deadline_ms)};
    auto task = std::make_unique<RecordedTask>(info, id, nullptr, std::move(cancelled));
    queue_.Push(std::move(task), sequence_++);
  }
  void PrepareAll() {
    while (queue_.NextToPrepare() != nullptr) queue_.PushReady(queue_.PopToPrepare());
  }
  BatchQueue::Ready PopReady(BatchLimits limits) { return queue_.PopReady(kNow, cost_, limits); }

  static int Id(const Task& task) { return static_cast<const RecordedTask&>(task).id; }
  static std::vector<int> Ids(const std::vector<std::unique_ptr<Task>>& tasks) {
    std::vector<int> ids;
    for (const auto& task : tasks) ids.push_back(Id(*task));
    return ids;
  }

  BatchQueue queue_;
  CostModel cost_;
  uint64_t sequence_ = 0;
};

TEST_F(BatchQueueTest, ServesTheEarliestDeadlineFirstAndEqualOnesByArrival) {
  Push(1, 50);
  Push(2, 20);
  Push(3, 50);
  Push(4, 10);
  PrepareAll();
  EXPECT_EQ(Ids(PopReady({.images = 10}).tasks), (std::vector<int>{4, 2, 1, 3}));
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.all(), BatchQueue::Work{});
  EXPECT_EQ(queue_.waiting_bytes(), 0);
  EXPECT_EQ(queue_.prepared_bytes(), 0);
}

TEST_F(BatchQueueTest, PreparesTheEarliestDeadlineFirst) {
  Push(1, 50);
  Push(2, 20);
  EXPECT_EQ(Id(*queue_.NextToPrepare()), 2);
  const std::unique_ptr<Task> first = queue_.PopToPrepare();
  EXPECT_EQ(Id(*first), 2);
  EXPECT_EQ(Id(*queue_.PopToPrepare()), 1);
  EXPECT_EQ(queue_.NextToPrepare(), nullptr);
}

TEST_F(BatchQueueTest, OnlyWhatIsReadyIsServedAndTheRestKeepsItsPlace) {
  Push(1, 10);
  Push(2, 20);
  std::unique_ptr<Task> first = queue_.PopToPrepare();
  queue_.PushReady(queue_.PopToPrepare());
  EXPECT_EQ(Ids(PopReady({.images = 10}).tasks), (std::vector<int>{2}));
  EXPECT_EQ(queue_.size(), 1);
  EXPECT_EQ(queue_.Ahead(kNow + milliseconds(10)).pixels, 100);
  queue_.PushReady(std::move(first));
  EXPECT_EQ(Ids(PopReady({.images = 10}).tasks), (std::vector<int>{1}));
}

TEST_F(BatchQueueTest, WhatFailsInPreparationLeavesNothingBehind) {
  Push(1, 10);
  const std::unique_ptr<Task> task = queue_.PopToPrepare();
  queue_.Forget(*task);
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.waiting_bytes(), 0);
  EXPECT_EQ(queue_.prepared_bytes(), 0);
}

TEST_F(BatchQueueTest, CountsTheBytesOfEachStage) {
  Push(1, 10);
  EXPECT_EQ(queue_.waiting_bytes(), 10);
  EXPECT_EQ(queue_.prepared_bytes(), 0);
  std::unique_ptr<Task> task = queue_.PopToPrepare();
  EXPECT_EQ(queue_.prepared_bytes(), 50);
  queue_.PushReady(std::move(task));
  EXPECT_EQ(queue_.prepared_bytes(), 30);
}

TEST_F(BatchQueueTest, ClosesABatchByImagesAndByPixels) {
  for (int id = 0; id < 5; ++id) Push(id, 10 + id);
  PrepareAll();
  EXPECT_EQ(Ids(PopReady({.images = 2}).tasks), (std::vector<int>{0, 1}));
  const BatchQueue::Ready ready = PopReady({.images = 10, .pixels = 250});
  EXPECT_EQ(Ids(ready.tasks), (std::vector<int>{2, 3}));
  EXPECT_EQ(ready.pixels, 200);
  EXPECT_EQ(ready.cause, CloseCause::kFull);
  EXPECT_EQ(queue_.all(), (BatchQueue::Work{1, 100}));
}

TEST_F(BatchQueueTest, DropsWhoseDeadlineHasComeOrCanNoLongerBeMet) {
  cost_.SetProfile(milliseconds(2), 1e-5);  // 3 ms of 100 pixels, 12 ms of 1000
  Push(1, 10);
  Push(2, 14);
  Push(3, 20, 1000);
  Push(4, 30);
  std::vector<int> ids;
  for (const Dropped& one : queue_.PopExpired(kNow + milliseconds(10), cost_)) {
    EXPECT_EQ(one.reason, DropReason::kDeadline);
    ids.push_back(Id(*one.task));
  }
  EXPECT_EQ(ids, (std::vector<int>{1, 3}));
}

TEST_F(BatchQueueTest, DropsTheCancelledBeforeAndAfterPreparation) {
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  Push(1, 10, 100, cancelled);
  PrepareAll();
  Push(2, 30, 100, cancelled);
  Push(3, 20);
  EXPECT_TRUE(queue_.PopCancelled().empty());
  cancelled->store(true);
  EXPECT_EQ(queue_.PopCancelled().size(), 2U);
  EXPECT_EQ(queue_.size(), 1);
}

TEST_F(BatchQueueTest, WakesWhenTheFirstDeadlineCanNoLongerBeMet) {
  EXPECT_EQ(queue_.NextWakeup(cost_), TimePoint::max());
  EXPECT_FALSE(queue_.OldestArrival().has_value());
  cost_.SetProfile(milliseconds(5), 0);
  Push(1, 50);
  Push(2, 20);
  const TimePoint wakeup = queue_.NextWakeup(cost_);
  EXPECT_GT(wakeup, kNow + milliseconds(15));
  EXPECT_LT(wakeup, kNow + milliseconds(16));
  EXPECT_EQ(queue_.PopExpired(wakeup, cost_).size(), 1U);
  EXPECT_EQ(queue_.OldestArrival(), kNow + milliseconds(1));
}

TEST_F(BatchQueueTest, WorkAheadEndsAtTheDeadline) {
  Push(1, 10);
  Push(2, 20);
  Push(3, 30);
  EXPECT_EQ(queue_.Ahead(kNow + milliseconds(20)), (BatchQueue::Work{2, 200}));
  EXPECT_EQ(queue_.Ahead(kNow + milliseconds(30)), (BatchQueue::Work{3, 300}));
  EXPECT_EQ(queue_.Ahead(kNow), BatchQueue::Work{});
  EXPECT_TRUE(queue_.HasLater(kNow + milliseconds(29)));
  EXPECT_FALSE(queue_.HasLater(kNow + milliseconds(30)));
}

}  // namespace
}  // namespace spatialmamba
