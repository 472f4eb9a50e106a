#include "model/runtime/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

TEST(ThreadPool, RunsEveryItemOnceAndNoWorkerTwiceAtATime) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> times(static_cast<size_t>(round % 17));
      std::vector<std::atomic<int>> busy(static_cast<size_t>(threads));
      pool.ParallelFor(static_cast<int64_t>(times.size()), [&](int64_t item, int worker) {
        ASSERT_EQ(busy[static_cast<size_t>(worker)].fetch_add(1), 0);
        times[static_cast<size_t>(item)].fetch_add(1);
        busy[static_cast<size_t>(worker)].fetch_sub(1);
      });
      for (const std::atomic<int>& count : times) ASSERT_EQ(count.load(), 1);
    }
  }
}

TEST(ThreadPool, RethrowsAfterTheRestHasRunAndGoesOn) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> ran = 0;
    EXPECT_THROW(pool.ParallelFor(10,
                                  [&](int64_t item, int) {
                                    ran.fetch_add(1);
                                    if (item == 4) throw std::runtime_error("item 4");
                                  }),
                 std::runtime_error);
    EXPECT_EQ(ran.load(), 10);
  }
}

TEST(ThreadPool, ConcurrentCallersTakeTurns) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum = 0;
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        pool.ParallelFor(20, [&](int64_t item, int) { sum.fetch_add(item); });
      }
    });
  }
  callers.clear();
  EXPECT_EQ(sum.load(), 4 * 50 * 190);
}

TEST(ThreadPool, NeedsAThread) { EXPECT_THROW(ThreadPool(0), std::invalid_argument); }

TEST(UsableCores, IsAtLeastOneAndNotMoreThanTheMachineHas) {
  EXPECT_GE(UsableCores(), 1);
  EXPECT_LE(UsableCores(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace spatialmamba
