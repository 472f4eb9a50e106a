#pragma once

#include <optional>
#include <span>

#include "batching/clock.h"

namespace spatialmamba {

// What the scheduler knows of a queue.
struct QueueSummary {
  bool empty = true;
  TimePoint earliest_deadline = TimePoint::max();
  TimePoint oldest_arrival = TimePoint::max();
  Duration predicted = Duration::zero();  // device time of its next batch, at least
};

// Which queue a free slot of a device serves next. Pure.
class DeviceScheduler {
 public:
  // The queue with the least slack (earliest deadline less what its batch takes); among equals the
  // one whose oldest task has waited longest. Slack shrinks while a task waits, so that no model
  // starves another. Nothing if all are empty.
  static std::optional<size_t> Next(std::span<const QueueSummary> queues);
};

}  // namespace spatialmamba
