#include "batching/batcher.h"

#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "tests/batching/fake_clock.h"
#include "tests/batching/recorded_task.h"

namespace spatialmamba {
namespace {

using Fate = Record::Fate;
using std::chrono::milliseconds;

// A device that holds its batches until the test lets it go on.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --waiting_;
  }
  void Open() {
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  // True once a batch stands at the gate.
  bool Reached() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return waiting_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

class BatcherTest : public testing::Test {
 protected:
  void Start(SchedulerOptions options, bool gated = false) {
    if (options.models.empty()) options.models = {QueueOptions{}};
    const auto run = [this, gated](int, const Batch& batch) {
      if (gated) gate_.Pass();
      {
        const std::lock_guard lock(mutex_);
        batches_.push_back({});
        for (const auto& task : batch.tasks) {
          batches_.back().push_back(static_cast<RecordedTask&>(*task).id);
        }
      }
      for (const auto& task : batch.tasks) static_cast<RecordedTask&>(*task).Run();
      return static_cast<int64_t>(batch.tasks.size());
    };
    batcher_ = std::make_unique<Batcher>(options, clock_, observer_,
                                         Batcher::Callbacks{.prepare =
                                                                [this](Batcher::Preparation one) {
                                                                  if (hold_preparations_) {
                                                                    held_.push_back(std::move(one));
                                                                  } else {
                                                                    batcher_->Ready(std::move(one));
                                                                  }
                                                                },
                                                            .run = run});
  }

  // Sends one request whose images are the tasks id, id + 1, ...
  std::optional<Refusal> Send(int id, int images = 1, Duration deadline = std::chrono::hours(1),
                              int model = 0,
                              std::shared_ptr<std::atomic<bool>> cancelled = nullptr) {
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < images; ++i) {
      const TaskInfo info{.model = model,
                          .pixels = kPixels,
                          .bytes = kBytes,
                          .arrival = clock_.Now(),
                          .deadline = clock_.Now() + deadline};
      tasks.push_back(std::make_unique<RecordedTask>(info, id + i, &record_, cancelled));
    }
    return batcher_->Submit(std::move(tasks));
  }

  std::vector<std::vector<int>> batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }

  static constexpr int64_t kPixels = 1000;
  static constexpr int64_t kBytes = 100;

  FakeClock clock_;
  CountingObserver observer_;
  Record record_;
  Gate gate_;
  std::mutex mutex_;  // guards batches_
  std::vector<std::vector<int>> batches_;
  bool hold_preparations_ = false;
  std::unique_ptr<Batcher> batcher_;
  std::vector<Batcher::Preparation> held_;  // before the batcher, as it has to be
};

TEST_F(BatcherTest, DispatchesAtOnceWhenTheDeviceIsIdle) {
  Start({});
  EXPECT_FALSE(Send(1));
  EXPECT_EQ(record_.Of(1), Fate::kRan);
  EXPECT_EQ(batches(), (std::vector<std::vector<int>>{{1}}));
}

TEST_F(BatcherTest, WhatCameWhileTheDeviceWasBusySharesTheNextBatchEarliestDeadlineFirst) {
  Start({.models = {{.max_batch_size = 3}}}, true);
  Send(1);
  ASSERT_TRUE(gate_.Reached());
  Send(2, 1, milliseconds(400));
  Send(3, 1, milliseconds(300));
  Send(4, 1, milliseconds(200));
  Send(5, 1, milliseconds(100));
  gate_.Open();
  for (int id = 1; id <= 5; ++id) EXPECT_EQ(record_.Of(id), Fate::kRan);
  EXPECT_EQ(batches(), (std::vector<std::vector<int>>{{1}, {5, 4, 3}, {2}}));
}

TEST_F(BatcherTest, DropsAtTheDeadlineWhileTheDeviceIsBusy) {
  Start({}, true);
  Send(1);
  ASSERT_TRUE(gate_.Reached());
  Send(2, 1, milliseconds(50));
  clock_.Advance(milliseconds(49));
  EXPECT_FALSE(record_.Has(2));
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(record_.Of(2), Fate::kDeadline);
  gate_.Open();
  EXPECT_EQ(record_.Of(1), Fate::kRan);
  EXPECT_TRUE(batcher_->Drain(TimePoint::max()));
  EXPECT_EQ(batches(), (std::vector<std::vector<int>>{{1}}));
  EXPECT_EQ(observer_.dropped, 1);
}

TEST_F(BatcherTest, DropsTheCancelledWhileTheDeviceIsBusyAndSaysWhatThatSaved) {
  Start({}, true);
  batcher_->SetProfile(0, Duration::zero(), 1e-6);
  Send(1);
  ASSERT_TRUE(gate_.Reached());
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  Send(2, 1, std::chrono::hours(1), 0, cancelled);
  cancelled->store(true);
  batcher_->Wake();
  EXPECT_EQ(record_.Of(2), Fate::kCancelled);
  EXPECT_EQ(observer_.saved_nanoseconds, 1'000'000);  // 1000 pixels
  gate_.Open();
}

// The thread that drops used to forget a wake-up that came while it told other tasks of their end.
TEST_F(BatcherTest, ACancellationThatComesWhileOthersAreDroppedIsSeen) {
  Start({}, true);
  Send(1);
  ASSERT_TRUE(gate_.Reached());
  // A task whose end takes until the test has cancelled the other one.
  class SlowToDrop final : public Task {
   public:
    SlowToDrop(const TaskInfo& info, Gate& until) : Task(info), gate(until) {}
    bool Cancelled() const override { return true; }
    void Drop(DropReason) override { gate.Pass(); }
    Gate& gate;
  };
  Gate dropping;
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  Send(2, 1, std::chrono::hours(1), 0, cancelled);
  std::vector<std::unique_ptr<Task>> slow;
  slow.push_back(std::make_unique<SlowToDrop>(TaskInfo{}, dropping));
  batcher_->Submit(std::move(slow));
  batcher_->Wake();
  ASSERT_TRUE(dropping.Reached());
  cancelled->store(true);
  batcher_->Wake();
  dropping.Open();
  EXPECT_EQ(record_.Of(2), Fate::kCancelled);
  gate_.Open();
  EXPECT_EQ(record_.Of(1), Fate::kRan);
}

TEST_F(BatcherTest, AdmitsARequestWholeOrNotAtAll) {
  Start({.models = {{.max_batch_size = 1, .max_queue = 4}}}, true);
  Send(1);
  ASSERT_TRUE(gate_.Reached());
  EXPECT_FALSE(Send(10, 3));
  const std::optional<Refusal> refusal = Send(20, 2);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kQueueFull);
  EXPECT_GT(refusal->retry_after, Duration::zero());
  EXPECT_NE(refusal->message.find("3 images of at most 4"), std::string::npos) << refusal->message;
  EXPECT_EQ(batcher_->State(0).depth, 3);
  EXPECT_FALSE(Send(30, 1));
  EXPECT_EQ(observer_.refused, 2);
  gate_.Open();
  EXPECT_EQ(record_.Of(30), Fate::kRan);
}

TEST_F(BatcherTest, BoundsTheBytesOfAllModelsTogether) {
  Start({.models = {{}, {}}, .queue_bytes = 250}, true);
  Send(1);
  ASSERT_TRUE(gate_.Reached());
  EXPECT_FALSE(Send(2, 1, std::chrono::hours(1), 0));
  EXPECT_FALSE(Send(3, 1, std::chrono::hours(1), 1));
  const std::optional<Refusal> refusal = Send(4, 1, std::chrono::hours(1), 1);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kQueueFull);
  EXPECT_NE(refusal->message.find("200 bytes of at most 250"), std::string::npos);
  gate_.Open();
}

TEST_F(BatcherTest, APreparationThatFailsGivesItsPlaceBack) {
  hold_preparations_ = true;
  Start({.models = {{.max_queue = 1}}});
  EXPECT_FALSE(Send(1));
  ASSERT_EQ(held_.size(), 1U);
  EXPECT_TRUE(Send(2)) << "the place is taken while the first is prepared";
  held_.clear();
  EXPECT_EQ(record_.Of(1), Fate::kLost) << "its owner has answered it";
  EXPECT_EQ(batcher_->State(0).depth, 0);
  EXPECT_FALSE(Send(3));
  batcher_->Ready(std::move(held_.at(0)));
  EXPECT_EQ(record_.Of(3), Fate::kRan);
}

TEST_F(BatcherTest, NothingRunsBeforeItIsPrepared) {
  hold_preparations_ = true;
  Start({});
  Send(1, 2);
  ASSERT_EQ(held_.size(), 2U);
  batcher_->Ready(std::move(held_[1]));
  EXPECT_EQ(record_.Of(2), Fate::kRan);
  EXPECT_FALSE(record_.Has(1));
  batcher_->Ready(std::move(held_[0]));
  EXPECT_EQ(record_.Of(1), Fate::kRan);
}

TEST_F(BatcherTest, WhatExpiresBeforeItsPreparationIsNeverPrepared) {
  hold_preparations_ = true;
  Start({.models = {{.max_batch_size = 1}}});
  Send(1, 6, milliseconds(50));  // four are prepared ahead
  ASSERT_EQ(held_.size(), 4U);
  clock_.Advance(milliseconds(51));
  EXPECT_EQ(record_.Of(5), Fate::kDeadline);
  EXPECT_EQ(record_.Of(6), Fate::kDeadline);
  EXPECT_EQ(held_.size(), 4U);
  held_.clear();
}

TEST_F(BatcherTest, RefusesAPassedDeadlineWithoutARetryHint) {
  Start({});
  const std::optional<Refusal> refusal = Send(1, 1, Duration::zero());
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kDeadline);
  EXPECT_EQ(refusal->retry_after, Duration::zero());
}

TEST_F(BatcherTest, RefusesWhatEvenAnIdleDeviceCannotDoInTime) {
  Start({});
  batcher_->SetProfile(0, milliseconds(10), 0);
  const std::optional<Refusal> refusal = Send(1, 1, milliseconds(9));
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kDeadline);
  EXPECT_EQ(refusal->retry_after, Duration::zero());
  EXPECT_FALSE(Send(2, 1, milliseconds(10)));
}

TEST_F(BatcherTest, DrainFinishesWhatWasAdmittedAndRefusesTheRest) {
  Start({.models = {{.max_batch_size = 1}}}, true);
  Send(1, 5);
  ASSERT_TRUE(gate_.Reached());
  batcher_->BeginDrain();
  const std::optional<Refusal> refusal = Send(9);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kDraining);
  EXPECT_GT(refusal->retry_after, Duration::zero());
  gate_.Open();
  EXPECT_TRUE(batcher_->Drain(TimePoint::max()));
  for (int id = 1; id <= 5; ++id) EXPECT_EQ(record_.Of(id), Fate::kRan);
}

TEST_F(BatcherTest, DrainDropsWhatStillWaitsAtItsDeadline) {
  Start({.models = {{.max_batch_size = 1}}}, true);
  Send(1, 3);
  ASSERT_TRUE(gate_.Reached());
  bool finished = true;
  std::jthread drain([&] { finished = batcher_->Drain(clock_.Now() + milliseconds(100)); });
  while (!record_.Has(2)) {  // until the drain waits for the clock
    clock_.Advance(milliseconds(100));
    std::this_thread::yield();
  }
  drain.join();
  EXPECT_FALSE(finished);
  EXPECT_EQ(record_.Of(2), Fate::kDraining);
  EXPECT_EQ(record_.Of(3), Fate::kDraining);
  gate_.Open();
  EXPECT_EQ(record_.Of(1), Fate::kRan);
}

TEST_F(BatcherTest, WhatBecomesReadyAfterTheDrainIsDropped) {
  hold_preparations_ = true;
  Start({});
  Send(1);
  EXPECT_FALSE(batcher_->Drain(clock_.Now()));
  batcher_->Ready(std::move(held_.at(0)));
  EXPECT_EQ(record_.Of(1), Fate::kDraining);
}

TEST_F(BatcherTest, DestructionDropsWhatWaits) {
  Start({}, true);
  Send(1);
  ASSERT_TRUE(gate_.Reached());
  Send(2, 3);
  std::jthread opener([&] {
    record_.Of(4);
    gate_.Open();
  });
  batcher_.reset();
  EXPECT_EQ(record_.Of(1), Fate::kRan);
  for (int id = 2; id <= 4; ++id) EXPECT_EQ(record_.Of(id), Fate::kDraining);
}

TEST_F(BatcherTest, AnExceptionOfTheRunnerEndsItsTasksAndNothingElse) {
  std::atomic<bool> fail = true;
  const auto run = [&](int, const Batch& batch) {
    if (fail.exchange(false)) throw std::runtime_error("broken");
    for (const auto& task : batch.tasks) static_cast<RecordedTask&>(*task).Run();
    return static_cast<int64_t>(batch.tasks.size());
  };
  batcher_ = std::make_unique<Batcher>(
      SchedulerOptions{.models = {QueueOptions{}}}, clock_, observer_,
      Batcher::Callbacks{
          .prepare = [&](Batcher::Preparation one) { batcher_->Ready(std::move(one)); },
          .run = run});
  for (int id = 1; id <= 2; ++id) {
    Send(id);
    EXPECT_EQ(record_.Of(id), id == 1 ? Fate::kLost : Fate::kRan);
  }
  batcher_.reset();
}

}  // namespace
}  // namespace spatialmamba
