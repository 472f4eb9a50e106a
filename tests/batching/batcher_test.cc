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
  void Start(BatcherOptions options, bool gated = false) {
    if (options.models.empty()) options.models = {QueueOptions{}};
    batcher_ =
        std::make_unique<Batcher>(options, clock_, observer_, [this, gated](int, Batch batch) {
          if (gated) gate_.Pass();
          {
            const std::lock_guard lock(mutex_);
            batches_.push_back({});
            for (const auto& task : batch.tasks) {
              batches_.back().push_back(static_cast<RecordedTask&>(*task).id);
            }
          }
          for (const auto& task : batch.tasks) static_cast<RecordedTask&>(*task).Run();
        });
  }

  // Admits one request and submits its images as tasks id, id + 1, ...
  std::optional<Refusal> Send(int id, int images = 1, Duration deadline = std::chrono::hours(1),
                              int model = 0,
                              std::shared_ptr<std::atomic<bool>> cancelled = nullptr) {
    const TimePoint due = clock_.Now() + deadline;
    auto admitted = batcher_->Admit({.model = model,
                                     .images = images,
                                     .pixels = images * kPixels,
                                     .bytes = images * kBytes,
                                     .deadline = due});
    if (auto* refusal = std::get_if<Refusal>(&admitted)) return *refusal;
    auto& admission = std::get<Batcher::Admission>(admitted);
    for (int i = 0; i < images; ++i) {
      const TaskInfo info{.model = model,
                          .pixels = kPixels,
                          .bytes = kBytes,
                          .arrival = clock_.Now(),
                          .deadline = due};
      batcher_->Submit(admission,
                       std::make_unique<RecordedTask>(info, id + i, &record_, cancelled));
    }
    return std::nullopt;
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
  std::unique_ptr<Batcher> batcher_;
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
  auto admitted = batcher_->Admit({.images = 1, .deadline = TimePoint::max()});
  batcher_->Submit(std::get<Batcher::Admission>(admitted),
                   std::make_unique<SlowToDrop>(TaskInfo{}, dropping));
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

TEST_F(BatcherTest, PlacesComeBackWhenAnAdmissionIsNotUsed) {
  Start({.models = {{.max_queue = 2}}});
  {
    auto admitted = batcher_->Admit({.images = 2, .bytes = 10, .deadline = TimePoint::max()});
    ASSERT_TRUE(std::holds_alternative<Batcher::Admission>(admitted));
    EXPECT_EQ(batcher_->State(0).depth, 2);
    EXPECT_TRUE(Send(1));
  }
  EXPECT_EQ(batcher_->State(0).depth, 0);
  EXPECT_FALSE(Send(2));
  EXPECT_EQ(record_.Of(2), Fate::kRan);
}

TEST_F(BatcherTest, PlacesOfARequestGoTheirOwnWays) {
  Start({.models = {{.max_queue = 3}}});
  auto admitted = batcher_->Admit({.images = 3, .bytes = 30, .deadline = TimePoint::max()});
  auto& admission = std::get<Batcher::Admission>(admitted);
  {
    const Batcher::Admission unused = admission.TakeOne(0, 10);
    Batcher::Admission used = admission.TakeOne(0, 10);
    EXPECT_EQ(admission.places(), 1);
    batcher_->Submit(used, std::make_unique<RecordedTask>(TaskInfo{}, 1, &record_));
    EXPECT_EQ(record_.Of(1), Fate::kRan);
  }
  EXPECT_EQ(batcher_->State(0).depth, 1);
  admission = {};
  EXPECT_EQ(batcher_->State(0).depth, 0);
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

TEST_F(BatcherTest, RefusesWhatTheLoadMakesLateWithAHint) {
  Start({.models = {{.max_batch_size = 1}}}, true);
  batcher_->SetProfile(0, milliseconds(10), 0);
  Send(1, 1, milliseconds(100));
  ASSERT_TRUE(gate_.Reached());
  EXPECT_FALSE(Send(2, 1, milliseconds(100)));
  const std::optional<Refusal> refusal = Send(3, 1, milliseconds(25));  // 10 running, 10 its own
  EXPECT_FALSE(refusal) << "what waits has a later deadline and is served after it";
  const std::optional<Refusal> late = Send(4, 1, milliseconds(27));
  ASSERT_TRUE(late);
  EXPECT_EQ(late->reason, RefusalReason::kOverloaded);
  EXPECT_GE(late->retry_after, milliseconds(1));
  EXPECT_FALSE(Send(5, 1, milliseconds(60)));
  gate_.Open();
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

TEST_F(BatcherTest, WhatIsSubmittedAfterTheDrainIsDropped) {
  Start({});
  auto admitted = batcher_->Admit({.images = 1, .deadline = TimePoint::max()});
  auto& admission = std::get<Batcher::Admission>(admitted);
  EXPECT_TRUE(batcher_->Drain(clock_.Now()));
  batcher_->Submit(admission, std::make_unique<RecordedTask>(TaskInfo{}, 1, &record_));
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
  Batcher batcher({.models = {QueueOptions{}}}, clock_, observer_, [&](int, Batch batch) {
    if (fail.exchange(false)) throw std::runtime_error("broken");
    for (const auto& task : batch.tasks) static_cast<RecordedTask&>(*task).Run();
  });
  for (int id = 1; id <= 2; ++id) {
    auto admitted = batcher.Admit({.images = 1, .deadline = TimePoint::max()});
    batcher.Submit(std::get<Batcher::Admission>(admitted),
                   std::make_unique<RecordedTask>(TaskInfo{}, id, &record_));
    EXPECT_EQ(record_.Of(id), id == 1 ? Fate::kLost : Fate::kRan);
  }
}

}  // namespace
}  // namespace spatialmamba
