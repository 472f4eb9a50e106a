#include "batching/device_scheduler.h"

#include <vector>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using std::chrono::milliseconds;

const TimePoint kNow{std::chrono::hours(1)};

QueueSummary Queue(int deadline_ms, int predicted_ms, int arrived_ms = 0) {
  return {.empty = false,
          .earliest_deadline = kNow + milliseconds(deadline_ms),
          .oldest_arrival = kNow + milliseconds(arrived_ms),
          .predicted = milliseconds(predicted_ms)};
}

TEST(DeviceScheduler, ServesNothingIfAllQueuesAreEmpty) {
  EXPECT_FALSE(DeviceScheduler::Next({}).has_value());
  EXPECT_FALSE(DeviceScheduler::Next(std::vector<QueueSummary>(3)).has_value());
}

TEST(DeviceScheduler, ServesTheLeastSlackNotTheEarliestDeadline) {
  const std::vector<QueueSummary> queues = {{}, Queue(100, 10), Queue(120, 50)};
  EXPECT_EQ(DeviceScheduler::Next(queues), 2U);
}

TEST(DeviceScheduler, ServesWhoWaitedLongestAmongEquals) {
  const std::vector<QueueSummary> queues = {Queue(100, 10, 5), Queue(100, 10, 2)};
  EXPECT_EQ(DeviceScheduler::Next(queues), 1U);
}

// A flood of one model's new tasks has later deadlines than what another model's task had when it
// came.
TEST(DeviceScheduler, NoModelStarvesAnother) {
  TimePoint flood = kNow;
  const QueueSummary waiting = Queue(100, 10);
  for (int round = 0; round < 1000; ++round) {
    flood += milliseconds(1);
    const std::vector<QueueSummary> queues = {{.empty = false,
                                               .earliest_deadline = flood + milliseconds(50),
                                               .oldest_arrival = flood,
                                               .predicted = milliseconds(10)},
                                              waiting};
    if (DeviceScheduler::Next(queues) == 1U) {
      EXPECT_LE(round, 51);
      return;
    }
  }
  FAIL() << "never served";
}

}  // namespace
}  // namespace spatialmamba
