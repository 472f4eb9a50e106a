#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "batching/batcher.h"
#include "tests/batching/recorded_task.h"

namespace spatialmamba {
namespace {

// A thread that makes tasks ready, and fails every eighth.
class Preparer {
 public:
  ~Preparer() { Stop(); }
  void Start(Batcher& batcher) {
    thread_ = std::jthread([this, &batcher](const std::stop_token& stop) {
      std::unique_lock lock(mutex_);
      while (changed_.wait(lock, stop, [&] { return !waiting_.empty(); })) {
        Batcher::Preparation one = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        if (++prepared_ % 8 == 0) {
          ++failed_;
          { const Batcher::Preparation given_up = std::move(one); }
        } else {
          batcher.Ready(std::move(one));
        }
        lock.lock();
      }
    });
  }
  void Stop() { thread_ = {}; }
  void Add(Batcher::Preparation one) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(one));
    }
    changed_.notify_one();
  }
  int64_t failed() const { return failed_; }

 private:
  std::mutex mutex_;  // guards waiting_
  std::condition_variable_any changed_;
  std::deque<Batcher::Preparation> waiting_;
  int64_t prepared_ = 0;
  std::atomic<int64_t> failed_ = 0;
  std::jthread thread_;
};

// Several callers, two devices, two models, real time: whatever the order of things, every task
// runs or is dropped, once, and the observer's counts say so.
TEST(BatcherStress, EveryTaskRunsOrIsDroppedExactlyOnce) {
  constexpr int kCallers = 4;
  constexpr int kRequests = 500;
  SteadyClock clock;
  CountingObserver observer;
  Record record;
  std::atomic<int64_t> ran = 0;
  std::atomic<int64_t> submitted = 0;
  std::atomic<int64_t> refused = 0;
  int64_t failed = 0;
  {
    const SchedulerOptions options{
        .models = {{.max_batch_size = 4, .max_queue = 64}, {.max_batch_size = 2, .max_queue = 16}},
        .devices = 2};
    // Prepares on a thread of its own; every eighth preparation fails.
    Preparer preparer;
    Batcher batcher(options, clock, observer,
                    {.prepare = [&](Batcher::Preparation one) { preparer.Add(std::move(one)); },
                     .run =
                         [&](int, const Batch& batch) {
                           for (const auto& task : batch.tasks) {
                             static_cast<RecordedTask&>(*task).Run();
                             ++ran;
                           }
                           return static_cast<int64_t>(batch.tasks.size());
                         }});
    preparer.Start(batcher);
    batcher.SetProfile(0, std::chrono::microseconds(5), 1e-9);
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.emplace_back([&, caller] {
        std::mt19937 random(static_cast<unsigned>(caller));
        for (int request = 0; request < kRequests; ++request) {
          const int model = static_cast<int>(random() % 2);
          const int images = 1 + static_cast<int>(random() % 3);
          const TimePoint deadline =
              clock.Now() + std::chrono::microseconds(random() % 4 == 0 ? 20 : 2'000'000);
          const auto cancelled = std::make_shared<std::atomic<bool>>(false);
          std::vector<std::unique_ptr<Task>> tasks;
          for (int i = 0; i < images; ++i) {
            const TaskInfo info{.model = model,
                                .caller = static_cast<uint64_t>(caller),
                                .pixels = 3,
                                .bytes = 3,
                                .arrival = clock.Now(),
                                .deadline = deadline};
            const int id = (caller * kRequests + request) * 3 + i;
            tasks.push_back(std::make_unique<RecordedTask>(info, id, &record, cancelled));
          }
          submitted += images;
          // What is refused is destroyed, which the record calls lost.
          if (batcher.Submit(std::move(tasks))) refused += images;
          if (random() % 4 == 0) {
            cancelled->store(true);
            batcher.Wake();
          }
        }
      });
    }
    callers.clear();
    EXPECT_TRUE(batcher.Drain(clock.Now() + std::chrono::seconds(30)));
    EXPECT_EQ(batcher.State(0).depth, 0);
    EXPECT_EQ(batcher.State(1).depth, 0);
    preparer.Stop();
    failed = preparer.failed();
  }
  EXPECT_EQ(static_cast<int64_t>(record.size()), submitted);
  int64_t lost = 0;
  for (int id = 0; id < kCallers * kRequests * 3; ++id) {
    if (!record.Has(id)) continue;
    const std::optional<Record::Fate> fate = record.Of(id);
    ASSERT_TRUE(fate.has_value()) << id << " has several fates";
    lost += *fate == Record::Fate::kLost ? 1 : 0;
  }
  EXPECT_EQ(lost, refused + failed);
  EXPECT_EQ(ran + observer.dropped + refused + failed, submitted);
  EXPECT_EQ(observer.started, ran);
  EXPECT_EQ(observer.finished, ran);
}

}  // namespace
}  // namespace spatialmamba
