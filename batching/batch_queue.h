#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "batching/batch_plan.h"
#include "batching/clock.h"
#include "batching/cost_model.h"
#include "batching/task.h"

namespace spatialmamba {

// The admitted images of one model that are not yet on a device, earliest deadline first, then by
// admission. Each waits as it came, then is prepared (outside; the queue keeps its place), then is
// ready for a batch. A pure value: it is not thread-safe, reads no clock (callers pass `now`) and
// calls nothing of a task but Cancelled().
class BatchQueue {
 public:
  // Takes a task that waits for its preparation.
  void Push(std::unique_ptr<Task> task, uint64_t sequence);

  // The most urgent task that waits for its preparation; null if none does.
  const Task* NextToPrepare() const;
  // Hands it out. It comes back by PushReady, or Forget tells that it will not.
  std::unique_ptr<Task> PopToPrepare();
  void PushReady(std::unique_ptr<Task> task);
  void Forget(const Task& prepared);

  // Takes out what can no longer meet its deadline. What is being prepared is not touched.
  std::vector<Dropped> PopExpired(TimePoint now, const CostModel& cost);
  std::vector<Dropped> PopCancelled();
  std::vector<Dropped> PopAll(DropReason reason);

  // The next batch out of what is ready (see batch_plan.h), empty if nothing is, and what had to be
  // given up for it.
  struct Ready {
    std::vector<std::unique_ptr<Task>> tasks;
    std::vector<Dropped> dropped;
    int64_t pixels = 0;
    CloseCause cause = CloseCause::kIdle;
  };
  Ready PopReady(TimePoint now, const CostModel& cost, const BatchLimits& limits);

  // When time alone changes something: the first task can no longer meet its deadline. max() if
  // never.
  TimePoint NextWakeup(const CostModel& cost) const;
  // Deadline of the most urgent task.
  std::optional<TimePoint> FirstDeadline() const;
  // The most urgent task that is ready.
  std::optional<Candidate> FirstReady() const;
  // Arrival of the oldest task; nothing if there is none.
  std::optional<TimePoint> OldestArrival() const;

  struct Work {
    int64_t images = 0;
    int64_t pixels = 0;
    bool operator==(const Work&) const = default;
  };
  // Of the tasks whose deadline is not later: what is served before a new task of that deadline.
  Work Ahead(TimePoint deadline) const;
  Work all() const { return {size(), pixels_}; }
  // Whether a task has a later deadline.
  bool HasLater(TimePoint deadline) const;
  // Every task, in order.
  std::vector<Candidate> Candidates() const;

  bool empty() const { return entries_.empty(); }
  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  int64_t ready() const { return ready_; }
  int64_t preparing() const { return preparing_; }
  int64_t waiting_bytes() const { return waiting_bytes_; }    // as they came, prepared ones too
  int64_t prepared_bytes() const { return prepared_bytes_; }  // of preparation and of what is ready

 private:
  enum class Stage { kWaiting, kPreparing, kReady };
  struct Entry {
    Stage stage = Stage::kWaiting;
    std::unique_ptr<Task> task;  // null while it is being prepared
    int64_t pixels = 0;
    TimePoint arrival;
    int64_t bytes = 0;
    int64_t prepare_bytes = 0;
    int64_t ready_bytes = 0;
  };
  using Key = std::pair<TimePoint, uint64_t>;  // deadline, then order of admission
  using Entries = std::map<Key, Entry>;

  static Key KeyOf(const Task& task) { return {task.info().deadline, task.sequence_}; }
  void Account(const Entry& entry, int64_t sign);
  std::unique_ptr<Task> Take(Entries::iterator at);
  Entries::const_iterator FirstWaiting() const;

  Entries entries_;
  int64_t ready_ = 0;
  int64_t preparing_ = 0;
  int64_t pixels_ = 0;
  int64_t largest_pixels_ = 0;  // of one task, since the queue was last empty
  int64_t waiting_bytes_ = 0;
  int64_t prepared_bytes_ = 0;
};

}  // namespace spatialmamba
