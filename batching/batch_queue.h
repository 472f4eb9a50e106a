#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "batching/batcher.h"
#include "batching/clock.h"
#include "batching/task.h"

namespace spatialmamba {

// What a free slot of a device allows one batch.
struct Budget {
  int64_t images = 0;
  int64_t pixels = 0;  // 0: no bound
};

// Something that was taken out of the queue without running.
struct Dropped {
  std::unique_ptr<Task> task;
  DropReason reason = DropReason::kDeadline;
};

// The tasks of one model that wait for a device, earliest deadline first, then by arrival. A pure
// value: it is not thread-safe, reads no clock (callers pass `now`) and calls nothing of a task but
// Cancelled().
class BatchQueue {
 public:
  void Push(std::unique_ptr<Task> task);

  // Takes out what has been cancelled or whose deadline has come.
  std::vector<Dropped> PopExpired(TimePoint now);
  // Takes out everything.
  std::vector<Dropped> PopAll(DropReason reason);

  // The tasks of the next batch, within the budget; the first is taken even if it alone exceeds the
  // pixels. Call PopExpired first. `full` tells whether the budget, not the queue, ended the batch.
  struct Ready {
    std::vector<std::unique_ptr<Task>> tasks;
    int64_t pixels = 0;
    bool full = false;
  };
  Ready PopReady(const Budget& budget);

  // When time alone changes something: the earliest deadline. max() if nothing waits.
  TimePoint NextWakeup() const;
  // Arrival of the oldest task; nothing if none waits.
  std::optional<TimePoint> OldestArrival() const;

  // Images and pixels of the tasks whose deadline is not later: what is served before a task of
  // that deadline.
  struct Work {
    int64_t images = 0;
    int64_t pixels = 0;
  };
  Work Ahead(TimePoint deadline) const;

  bool empty() const { return tasks_.empty(); }
  int64_t size() const { return static_cast<int64_t>(tasks_.size()); }
  int64_t pixels() const { return pixels_; }
  int64_t bytes() const { return bytes_; }

 private:
  using Key = std::pair<TimePoint, uint64_t>;  // deadline, then order of Push

  std::unique_ptr<Task> Take(std::map<Key, std::unique_ptr<Task>>::iterator at);

  std::map<Key, std::unique_ptr<Task>> tasks_;
  uint64_t pushed_ = 0;
  int64_t pixels_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace spatialmamba
