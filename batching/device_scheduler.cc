#include "batching/device_scheduler.h"

#include <utility>

namespace spatialmamba {
namespace {

// When the queue's next batch has to start at the latest; without a deadline, never.
TimePoint LatestStart(const QueueSummary& queue) {
  if (queue.earliest_deadline == TimePoint::max()) return TimePoint::max();
  return queue.earliest_deadline - queue.predicted;
}

}  // namespace

std::optional<size_t> DeviceScheduler::Next(std::span<const QueueSummary> queues) {
  std::optional<size_t> best;
  for (size_t i = 0; i < queues.size(); ++i) {
    if (queues[i].empty) continue;
    const auto rank = [&](size_t queue) {
      return std::pair(LatestStart(queues[queue]), queues[queue].oldest_arrival);
    };
    if (!best || rank(i) < rank(*best)) best = i;
  }
  return best;
}

}  // namespace spatialmamba
