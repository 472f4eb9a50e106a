#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "batching/batcher.h"
#include "tests/batching/recorded_task.h"

namespace spatialmamba {
namespace {

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
  {
    const BatcherOptions options{
        .models = {{.max_batch_size = 4, .max_queue = 64}, {.max_batch_size = 2, .max_queue = 16}},
        .devices = 2};
    Batcher batcher(options, clock, observer, [&](int, Batch batch) {
      for (const auto& task : batch.tasks) {
        static_cast<RecordedTask&>(*task).Run();
        ++ran;
      }
    });
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
          auto admitted = batcher.Admit(
              {.model = model, .images = images, .pixels = 10, .bytes = 10, .deadline = deadline});
          auto* admission = std::get_if<Batcher::Admission>(&admitted);
          if (admission == nullptr) continue;
          const auto cancelled = std::make_shared<std::atomic<bool>>(false);
          const int used =
              random() % 8 == 0 ? images - 1 : images;  // an image that failed to decode
          for (int i = 0; i < used; ++i) {
            const TaskInfo info{.model = model,
                                .pixels = 3,
                                .bytes = 3,
                                .arrival = clock.Now(),
                                .deadline = deadline};
            const int id = (caller * kRequests + request) * 3 + i;
            ++submitted;
            batcher.Submit(*admission,
                           std::make_unique<RecordedTask>(info, id, &record, cancelled));
          }
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
  }
  EXPECT_EQ(static_cast<int64_t>(record.size()), submitted);
  for (int id = 0; id < kCallers * kRequests * 3; ++id) {
    if (record.Has(id)) {
      const std::optional<Record::Fate> fate = record.Of(id);
      ASSERT_TRUE(fate.has_value()) << id << " has several fates";
      ASSERT_NE(*fate, Record::Fate::kLost) << id;
    }
  }
  EXPECT_EQ(ran + observer.dropped, submitted);
  EXPECT_EQ(observer.started, ran);
  EXPECT_EQ(observer.finished, ran);
}

}  // namespace
}  // namespace spatialmamba
