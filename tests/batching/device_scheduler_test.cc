#include "batching/device_scheduler.h"

#include <vector>

#include <gtest/gtest.h>

#include "tests/batching/recorded_task.h"

namespace spatialmamba {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kPixels = 1000;

class DeviceSchedulerTest : public testing::Test {
 protected:
  struct Order {
    int images = 1;
    int model = 0;
    uint64_t caller = 1;
    int64_t pixels = kPixels;
    int64_t prepare_bytes = 0;
  };

  // Each model: a batch takes `fixed_ms` and `each_ms` an image.
  void Start(SchedulerOptions options, int fixed_ms = 0, int each_ms = 10) {
    scheduler_ = std::make_unique<DeviceScheduler>(options);
    for (size_t i = 0; i < options.models.size(); ++i) {
      scheduler_->SetProfile(static_cast<int>(i), milliseconds(fixed_ms), each_ms * 1e-6);
    }
  }

  std::optional<Refusal> Send(int deadline_ms, Order order) {
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < order.images; ++i) {
      const TaskInfo info{.model = order.model,
                          .caller = order.caller,
                          .pixels = order.pixels,
                          .bytes = 100,
                          .prepare_bytes = order.prepare_bytes,
                          .arrival = now_,
                          .deadline = now_ + milliseconds(deadline_ms)};
      tasks.push_back(std::make_unique<RecordedTask>(info, next_id_++, nullptr));
    }
    return scheduler_->Admit(tasks, now_);
  }
  std::optional<Refusal> Send(int deadline_ms) { return Send(deadline_ms, {}); }

  void PrepareAll() {
    while (std::unique_ptr<Task> task = scheduler_->NextToPrepare()) {
      scheduler_->Prepared(std::move(task));
    }
  }
  // Starts the next batch; its size, 0 if there is none.
  int64_t Dispatch(int device = 0) {
    PrepareAll();
    dropped_.clear();
    batch_ = scheduler_->NextBatch(device, now_, dropped_);
    return batch_ ? static_cast<int64_t>(batch_->tasks.size()) : 0;
  }
  void Finish(int taken_ms, int device = 0) {
    now_ += milliseconds(taken_ms);
    scheduler_->Finished(device, milliseconds(taken_ms), true);
  }

  TimePoint now_{std::chrono::hours(1)};
  int next_id_ = 0;
  std::unique_ptr<DeviceScheduler> scheduler_;
  std::optional<Batch> batch_;
  std::vector<Dropped> dropped_;
};

TEST_F(DeviceSchedulerTest, ServesTheModelWithTheLeastSlackNotTheEarliestDeadline) {
  Start({.models = {{}, {}}});
  scheduler_->SetProfile(1, Duration::zero(), 50e-6);
  Send(100);
  Send(120, {.model = 1});  // has to start after 70 ms, the other after 90
  ASSERT_EQ(Dispatch(), 1);
  EXPECT_EQ(batch_->model, 1);
}

// A flood of one model's new tasks has later deadlines than what another model's task had when it
// came.
TEST_F(DeviceSchedulerTest, NoModelStarvesAnother) {
  Start({.models = {{.max_batch_size = 1}, {}}}, 0, 1);
  Send(100, {.model = 1});
  for (int round = 0; round < 1000; ++round) {
    Send(50);
    Send(50);
    ASSERT_EQ(Dispatch(), 1);
    if (batch_->model == 1) {
      EXPECT_LE(round, 99);
      return;
    }
    Finish(1);
  }
  FAIL() << "never served";
}

TEST_F(DeviceSchedulerTest, AFreeDeviceServesWhatIsReadyWhateverElseIsBeingPrepared) {
  Start({.models = {{}}});
  Send(100);
  Send(200);
  const std::unique_ptr<Task> urgent = scheduler_->NextToPrepare();
  EXPECT_EQ(Dispatch(), 1);
  EXPECT_EQ(batch_->tasks[0]->info().deadline, now_ + milliseconds(200));
}

TEST_F(DeviceSchedulerTest, TheLoadOfARequestIsItsPartOfFullBatches) {
  Start(
      {.models = {{.max_batch_size = 8}, {.max_batch_size = 32, .max_batch_pixels = 4 * kPixels}}},
      80, 10);
  EXPECT_EQ(scheduler_->PredictLoad(0, 1, kPixels), milliseconds(20));
  EXPECT_EQ(scheduler_->PredictLoad(0, 64, 64 * kPixels), milliseconds(64 * 20));
  EXPECT_EQ(scheduler_->PredictLoad(1, 1, kPixels), milliseconds(30));
  // Larger than a batch may be: alone.
  EXPECT_EQ(scheduler_->PredictLoad(1, 1, 10 * kPixels), milliseconds(180));
}

TEST_F(DeviceSchedulerTest, RefusesWhatEvenAnIdleDeviceCannotDoInTimeWithoutAHint) {
  Start({.models = {{}}});
  const std::optional<Refusal> refusal = Send(9);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kDeadline);
  EXPECT_EQ(refusal->retry_after, Duration::zero());
  EXPECT_FALSE(Send(10));
}

TEST_F(DeviceSchedulerTest, RefusesWhatTheLoadMakesLateAndSaysWhenToComeBack) {
  Start({.models = {{.max_batch_size = 1}}});
  Send(100);
  ASSERT_EQ(Dispatch(), 1);
  EXPECT_FALSE(Send(30));
  const std::optional<Refusal> refusal = Send(36);  // 10 run, 10 wait, 10 its own
  EXPECT_FALSE(refusal);
  const std::optional<Refusal> late = Send(36);
  ASSERT_TRUE(late);
  EXPECT_EQ(late->reason, RefusalReason::kOverloaded);
  EXPECT_EQ(late->retry_after, milliseconds(4));
}

TEST_F(DeviceSchedulerTest, RefusesWhatWouldMakeTheAcceptedLate) {
  Start({.models = {{.max_batch_size = 1}}});
  Send(100);
  ASSERT_EQ(Dispatch(), 1);
  EXPECT_FALSE(Send(25));
  // It would be served first, and what was accepted before would have to be given up.
  const std::optional<Refusal> refusal = Send(24);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kOverloaded);
  EXPECT_EQ(refusal->retry_after, milliseconds(10));
}

TEST_F(DeviceSchedulerTest, ARequestIsAdmittedWholeOrNotAtAll) {
  Start({.models = {{.max_queue = 4}}});
  EXPECT_FALSE(Send(10'000, {.images = 3}));
  const std::optional<Refusal> refusal = Send(10'000, {.images = 2});
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kQueueFull);
  EXPECT_NE(refusal->message.find("3 images of at most 4"), std::string::npos) << refusal->message;
  EXPECT_EQ(refusal->retry_after, milliseconds(10));  // until there is room for one more
  EXPECT_EQ(scheduler_->State(0, now_).depth, 3);
}

TEST_F(DeviceSchedulerTest, ASlowSpellThatHasEndedIsNotBelievedForEver) {
  Start({.models = {{}}});
  for (int i = 0; i < 50; ++i) {
    Send(1000);
    ASSERT_EQ(Dispatch(), 1);
    Finish(40);  // four times its profile
  }
  EXPECT_FALSE(Send(15)) << "an idle device has to be tried";
  ASSERT_EQ(Dispatch(), 1);
  EXPECT_TRUE(Send(35)) << "a busy one is believed to be slow";
}

TEST_F(DeviceSchedulerTest, PreparesNoMoreThanTheNextBatchesNeed) {
  Start({.models = {{.max_batch_size = 4}}}, 10, 1);
  for (int i = 0; i < 50; ++i) Send(10'000);
  int prepared = 0;
  while (std::unique_ptr<Task> task = scheduler_->NextToPrepare()) {
    scheduler_->Prepared(std::move(task));
    ++prepared;
  }
  EXPECT_EQ(prepared, 8);
  ASSERT_EQ(Dispatch(), 4);
  EXPECT_TRUE(scheduler_->NextToPrepare());
}

TEST_F(DeviceSchedulerTest, PreparesWithinAWindowOfBytesAndTheMostUrgentFirst) {
  Start({.models = {{}}, .prepared_bytes = 100});
  Send(3000, {.prepare_bytes = 60});
  Send(2000, {.prepare_bytes = 60});
  Send(4000, {.prepare_bytes = 10});
  std::unique_ptr<Task> first = scheduler_->NextToPrepare();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->info().deadline, now_ + milliseconds(2000));
  // The next does not fit, and the small one behind it must not overtake it.
  EXPECT_FALSE(scheduler_->NextToPrepare());
  scheduler_->Forget(*first);
  EXPECT_TRUE(scheduler_->NextToPrepare());
}

TEST_F(DeviceSchedulerTest, APictureLargerThanTheWindowIsPreparedAlone) {
  Start({.models = {{}}, .prepared_bytes = 100});
  Send(3000, {.prepare_bytes = 500});
  EXPECT_TRUE(scheduler_->NextToPrepare());
}

TEST_F(DeviceSchedulerTest, TellsHowManyBatchesWentAhead) {
  Start({.models = {{.max_batch_size = 1}}});
  for (int i = 0; i < 3; ++i) Send(1000);
  for (int ahead = 0; ahead < 3; ++ahead) {
    ASSERT_EQ(Dispatch(), 1);
    EXPECT_EQ(batch_->tasks[0]->batches_ahead(), ahead);
    EXPECT_EQ(batch_->predicted, milliseconds(10));
    Finish(10);
  }
}

TEST_F(DeviceSchedulerTest, SeveralDevicesShareTheWork) {
  Start({.models = {{.max_batch_size = 1}}, .devices = 2});
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(Send(20)) << i;
  EXPECT_TRUE(Send(20));
  EXPECT_EQ(Dispatch(0), 1);
  EXPECT_EQ(Dispatch(1), 1);
  Finish(10, 0);
  EXPECT_EQ(Dispatch(0), 1);
}

// One caller asks for twenty times what the device can do, another for a tenth of it: the first
// gets the rest, the second all of what it asks for.
TEST_F(DeviceSchedulerTest, AFloodOfOneCallerLeavesOthersTheirShare) {
  Start({.models = {{.max_batch_size = 1}}});
  int served = 0;
  int refused = 0;
  int flood_served = 0;
  for (int i = 0; i < 2000; ++i) {  // of 10 ms
    for (int k = 0; k < 20; ++k) flood_served += Send(200, {.caller = 1}) ? 0 : 1;
    if (i % 10 == 0) ++(Send(200, {.caller = 2}) ? refused : served);
    ASSERT_EQ(Dispatch(), 1);
    EXPECT_TRUE(dropped_.empty());
    Finish(10);
  }
  EXPECT_LE(refused, 3) << "but for its first ones, when nobody knew of it";
  EXPECT_GE(served, 197);
  EXPECT_GE(flood_served, 1780);
}

TEST_F(DeviceSchedulerTest, AFloodOfOneModelLeavesOthersTheirShare) {
  Start({.models = {{.max_batch_size = 1}, {.max_batch_size = 1}}});
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    for (uint64_t k = 0; k < 4; ++k) Send(200, {.caller = k});
    if (i % 10 == 0) refused += Send(200, {.model = 1, .caller = 7}) ? 1 : 0;
    ASSERT_EQ(Dispatch(), 1);
    Finish(10);
  }
  EXPECT_LE(refused, 6);
}

// The queue fills up with requests that have all the time in the world.
TEST_F(DeviceSchedulerTest, AFloodWithoutDeadlinesLeavesPlacesToOthers) {
  Start({.models = {{.max_batch_size = 1, .max_queue = 50}}});
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    for (int k = 0; k < 5; ++k) Send(3'600'000, {.caller = 1});
    if (i % 10 == 0) refused += Send(500, {.caller = 2}) ? 1 : 0;
    ASSERT_EQ(Dispatch(), 1);
    Finish(10);
  }
  EXPECT_LE(refused, 3);
}

// Images that take twenty times as long as the others: they are served one at a time, and the small
// ones between them.
TEST_F(DeviceSchedulerTest, AFloodOfLargeImagesLeavesSmallOnesTheirShare) {
  Start({.models = {{}}});
  int refused = 0;
  int small = 0;
  int large_run = 0;
  int64_t since_small_ms = 0;
  for (int i = 0; i < 2000; ++i) {
    for (int k = 0; k < 3; ++k) Send(2000, {.caller = 1, .pixels = 20 * kPixels});
    for (; since_small_ms >= 100; since_small_ms -= 100, ++small) {  // a tenth of the time
      refused += Send(450, {.caller = 2}) ? 1 : 0;
    }
    ASSERT_GE(Dispatch(), 1);
    EXPECT_TRUE(dropped_.empty());
    const int64_t taken_ms = batch_->pixels / 100;
    large_run += taken_ms >= 200 ? 1 : 0;
    since_small_ms += taken_ms;
    Finish(static_cast<int>(taken_ms));
  }
  EXPECT_LE(refused, small / 100);
  EXPECT_GT(large_run, 500);
}

TEST_F(DeviceSchedulerTest, DrainingRefusesAndSaysSoOfTheLastBatch) {
  Start({.models = {{}}});
  Send(1000);
  scheduler_->BeginDrain();
  const std::optional<Refusal> refusal = Send(1000);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->reason, RefusalReason::kDraining);
  ASSERT_EQ(Dispatch(), 1);
  EXPECT_EQ(batch_->cause, CloseCause::kDrain);
}

}  // namespace
}  // namespace spatialmamba
