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
                        .arrival = kNow + milliseconds(id),
                        .deadline = kNow + milliseconds(deadline_ms)};
    auto task = std::make_unique<RecordedTask>(info, id, nullptr, std::move(cancelled));
    queue_.Push(std::move(task));
  }

  static std::vector<int> Ids(const std::vector<std::unique_ptr<Task>>& tasks) {
    std::vector<int> ids;
    for (const auto& task : tasks) ids.push_back(static_cast<RecordedTask&>(*task).id);
    return ids;
  }

  BatchQueue queue_;
};

TEST_F(BatchQueueTest, ServesTheEarliestDeadlineFirstAndEqualOnesByArrival) {
  Push(1, 50);
  Push(2, 20);
  Push(3, 50);
  Push(4, 10);
  EXPECT_EQ(Ids(queue_.PopReady({.images = 10}).tasks), (std::vector<int>{4, 2, 1, 3}));
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.pixels(), 0);
  EXPECT_EQ(queue_.bytes(), 0);
}

TEST_F(BatchQueueTest, ClosesABatchByImages) {
  for (int id = 0; id < 5; ++id) Push(id, 10 + id);
  const BatchQueue::Ready ready = queue_.PopReady({.images = 3});
  EXPECT_EQ(Ids(ready.tasks), (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(ready.full);
  EXPECT_EQ(queue_.size(), 2);
  EXPECT_EQ(queue_.pixels(), 200);
}

TEST_F(BatchQueueTest, ClosesABatchByPixelsAndRunsOneOversizedImageAlone) {
  Push(1, 10, 250);
  Push(2, 20, 40);
  Push(3, 30, 40);
  Push(4, 40, 40);
  EXPECT_EQ(Ids(queue_.PopReady({.images = 10, .pixels = 100}).tasks), (std::vector<int>{1}));
  const BatchQueue::Ready ready = queue_.PopReady({.images = 10, .pixels = 100});
  EXPECT_EQ(Ids(ready.tasks), (std::vector<int>{2, 3}));
  EXPECT_EQ(ready.pixels, 80);
  EXPECT_TRUE(ready.full);
  EXPECT_FALSE(queue_.PopReady({.images = 10, .pixels = 100}).full);
}

TEST_F(BatchQueueTest, DropsTheCancelledAndThoseWhoseDeadlineHasCome) {
  const auto cancelled = std::make_shared<std::atomic<bool>>(true);
  Push(1, 10);
  Push(2, 30, 100, cancelled);
  Push(3, 20);
  const std::vector<Dropped> dropped = queue_.PopExpired(kNow + milliseconds(10));
  ASSERT_EQ(dropped.size(), 2U);
  EXPECT_EQ(static_cast<RecordedTask&>(*dropped[0].task).id, 1);
  EXPECT_EQ(dropped[0].reason, DropReason::kDeadline);
  EXPECT_EQ(static_cast<RecordedTask&>(*dropped[1].task).id, 2);
  EXPECT_EQ(dropped[1].reason, DropReason::kCancelled);
  EXPECT_EQ(Ids(queue_.PopReady({.images = 10}).tasks), (std::vector<int>{3}));
}

TEST_F(BatchQueueTest, WakesAtTheEarliestDeadline) {
  EXPECT_EQ(queue_.NextWakeup(), TimePoint::max());
  EXPECT_FALSE(queue_.OldestArrival().has_value());
  Push(1, 50);
  Push(2, 20);
  EXPECT_EQ(queue_.NextWakeup(), kNow + milliseconds(20));
  EXPECT_EQ(queue_.OldestArrival(), kNow + milliseconds(1));
}

TEST_F(BatchQueueTest, WorkAheadEndsAtTheDeadline) {
  Push(1, 10);
  Push(2, 20);
  Push(3, 30);
  EXPECT_EQ(queue_.Ahead(kNow + milliseconds(20)).images, 2);
  EXPECT_EQ(queue_.Ahead(kNow + milliseconds(20)).pixels, 200);
  EXPECT_EQ(queue_.Ahead(kNow).images, 0);
}

}  // namespace
}  // namespace spatialmamba
