#include "server/work_pool.h"

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

TimePoint At(int second) { return TimePoint() + std::chrono::seconds(second); }

WorkPool::Job MakeJob(int deadline, int64_t bytes, std::function<void()> run) {
  return {.deadline = At(deadline), .bytes = bytes, .run = std::move(run), .fail = [](auto) {}};
}

TEST(WorkPool, RunsTheEarliestDeadlineFirst) {
  std::vector<int> order;
  {
    std::promise<void> gate;
    WorkPool pool(1, 100);
    pool.Add(MakeJob(0, 0, [&] { gate.get_future().wait(); }));
    for (const int deadline : {5, 2, 9, 2}) {
      pool.Add(
          MakeJob(deadline, deadline == 9 ? 1 : 0, [&, deadline] { order.push_back(deadline); }));
    }
    gate.set_value();
  }
  EXPECT_EQ(order, (std::vector<int>{2, 2, 5, 9}));
}

TEST(WorkPool, RunsAllThatWasAddedBeforeItEnds) {
  std::atomic<int> done = 0;
  {
    WorkPool pool(3, 10);
    for (int i = 0; i < 200; ++i) pool.Add(MakeJob(i, i % 12, [&] { ++done; }));
  }
  EXPECT_EQ(done, 200);
}

TEST(WorkPool, BoundsTheMemoryOfWhatRuns) {
  std::atomic<int64_t> in_use = 0;
  std::atomic<int64_t> most = 0;
  {
    WorkPool pool(8, 100);
    for (int i = 0; i < 300; ++i) {
      const int64_t bytes = 10 + 7 * i % 60;
      pool.Add(MakeJob(i, bytes, [&, bytes] {
        const int64_t now = in_use += bytes;
        for (int64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        in_use -= bytes;
      }));
    }
  }
  EXPECT_LE(most, 100);
}

TEST(WorkPool, AJobThatNeedsMoreThanThereIsRunsAlone) {
  std::atomic<int64_t> running = 0;
  bool alone = false;
  {
    WorkPool pool(4, 10);
    for (int i = 0; i < 50; ++i) {
      pool.Add(MakeJob(i, 4, [&] {
        ++running;
        --running;
      }));
    }
    pool.Add(MakeJob(25, 1000, [&] {
      alone = ++running == 1;
      --running;
    }));
  }
  EXPECT_TRUE(alone);
}

TEST(WorkPool, WorkWithoutMemoryPassesWhatWaitsForMemory) {
  std::promise<void> gate;
  std::promise<void> passed;
  WorkPool pool(2, 10);
  pool.Add(MakeJob(1, 10, [&] { gate.get_future().wait(); }));
  pool.Add(MakeJob(2, 10, [] {}));
  pool.Add(MakeJob(3, 0, [&] { passed.set_value(); }));
  passed.get_future().wait();
  gate.set_value();
}

TEST(WorkPool, HandsAnExceptionToItsJob) {
  std::promise<std::string> message;
  WorkPool pool(1, 10);
  pool.Add({.run = [] { throw std::runtime_error("broken"); },
            .fail =
                [&](const std::exception_ptr& exception) {
                  try {
                    std::rethrow_exception(exception);
                  } catch (const std::runtime_error& error) {
                    message.set_value(error.what());
                  }
                }});
  EXPECT_EQ(message.get_future().get(), "broken");
  std::promise<void> next;
  pool.Add(MakeJob(1, 0, [&] { next.set_value(); }));
  next.get_future().wait();
}

}  // namespace
}  // namespace spatialmamba
