#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "batching/clock.h"

namespace spatialmamba {

// Why an admitted task was never executed.
enum class DropReason {
  kDeadline,    // its deadline has passed or can no longer be met
  kOverloaded,  // it would have forced a batch too small to keep up with the load
  kCancelled,
  kDraining,
};

// What the policy knows of one image.
struct TaskInfo {
  int model = 0;              // index of its queue
  uint64_t caller = 0;        // who asked; callers get fair shares
  int64_t pixels = 0;         // of the network's input: the measure of its cost
  int64_t bytes = 0;          // of host memory while it waits as it came
  int64_t prepare_bytes = 0;  // of host memory while it is being prepared
  int64_t ready_bytes = 0;    // of host memory from then until it is dispatched
  TimePoint arrival;          // of its request
  TimePoint deadline = TimePoint::max();
};

// One image on its way to a device. Owned by exactly one place at any time: the request, the queue,
// its preparation, or a batch. Once admitted it reaches the batch runner, or is given up by its
// preparation, or Drop is called once; never two of these, never none.
class Task {
 public:
  explicit Task(const TaskInfo& info) : info_(info) {}
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  const TaskInfo& info() const { return info_; }

  // When the request was predicted to be done, at its admission; max() before that.
  TimePoint predicted_finish() const { return predicted_finish_; }
  // When its batch was predicted to end, at its start; max() before that.
  TimePoint predicted_batch_end() const { return predicted_batch_end_; }
  // Batches that were started, on any device, between its admission and its own.
  int64_t batches_ahead() const { return batches_ahead_; }

  // Nobody waits for the answer any more. Thread-safe and cheap: the policy asks before every
  // decision.
  virtual bool Cancelled() const = 0;
  // Called on one of the batcher's threads, no lock held. May finish the call; must not block.
  virtual void Drop(DropReason reason) = 0;

 private:
  friend class BatchQueue;
  friend class DeviceScheduler;

  const TaskInfo info_;
  TimePoint predicted_finish_ = TimePoint::max();
  TimePoint predicted_batch_end_ = TimePoint::max();
  uint64_t sequence_ = 0;              // order of admission
  Duration held_ = Duration::zero();   // its part of what its caller and model hold
  uint64_t batches_at_admission_ = 0;  // started before it
  int64_t batches_ahead_ = 0;
};

// What closed a batch.
enum class CloseCause {
  kFull,      // its bound in images, pixels or time
  kIdle,      // nothing more was ready, and a device was free
  kDeadline,  // one more image would have made the most urgent one late
  kDrain,
};
const char* Name(CloseCause cause);  // "full", "idle", "deadline", "drain"

struct Batch {
  int model = 0;
  CloseCause cause = CloseCause::kIdle;
  TimePoint formed;
  Duration predicted = Duration::zero();  // device time
  int64_t pixels = 0;
  std::vector<std::unique_ptr<Task>> tasks;  // at least one, earliest deadline first
};

// Something that was taken out of the queue without running.
struct Dropped {
  std::unique_ptr<Task> task;
  DropReason reason = DropReason::kDeadline;
};

}  // namespace spatialmamba
