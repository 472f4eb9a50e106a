#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "batching/clock.h"

namespace spatialmamba {

// Why an admitted task was never executed.
enum class DropReason { kDeadline, kCancelled, kDraining };

// What the policy knows of one image.
struct TaskInfo {
  int model = 0;       // index of its queue
  int64_t pixels = 0;  // of the network's input: the measure of its cost
  int64_t bytes = 0;   // of host memory while it waits
  TimePoint arrival;   // of its request
  TimePoint deadline = TimePoint::max();
};

// One image on its way to a device. Owned by exactly one place at any time: the request, the queue,
// or a batch. Either it reaches the batch runner, or Drop is called once; never both, never
// neither.
class Task {
 public:
  explicit Task(const TaskInfo& info) : info_(info) {}
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  const TaskInfo& info() const { return info_; }

  // Nobody waits for the answer any more. Thread-safe and cheap: the policy asks before every
  // decision.
  virtual bool Cancelled() const = 0;
  // Called on one of the batcher's threads, no lock held. May finish the call; must not block.
  virtual void Drop(DropReason reason) = 0;

 private:
  const TaskInfo info_;
};

// What closed a batch.
enum class CloseCause { kFull, kIdle, kDeadline, kDrain };
const char* Name(CloseCause cause);  // "full", "idle", "deadline", "drain"

struct Batch {
  int model = 0;
  CloseCause cause = CloseCause::kIdle;
  TimePoint formed;
  int64_t pixels = 0;
  std::vector<std::unique_ptr<Task>> tasks;  // at least one, earliest deadline first
};

}  // namespace spatialmamba
