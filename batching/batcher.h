#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "batching/clock.h"
#include "batching/device_scheduler.h"
#include "batching/observer.h"
#include "batching/task.h"

namespace spatialmamba {

// The only thread-safe part of batching: a monitor around the pure policy (DeviceScheduler) and one
// worker thread a device. No method blocks but Drain and the destructor.
class Batcher {
 public:
  // A task while it is prepared. Given to Ready if that succeeds; on destruction before that the
  // task is given up and its place freed. Must not outlive the batcher.
  class Preparation {
   public:
    Preparation(Preparation&& other) noexcept = default;
    Preparation& operator=(Preparation&& other) = delete;
    ~Preparation();
    Task& task() const { return *task_; }

   private:
    friend class Batcher;
    Preparation(Batcher& batcher, std::unique_ptr<Task> task)
        : batcher_(&batcher), task_(std::move(task)) {}
    Batcher* batcher_;
    std::unique_ptr<Task> task_;
  };

  struct Callbacks {
    // Prepares a task (decodes it), elsewhere: called on any of the threads that call the batcher,
    // must not block, nor call the batcher.
    std::function<void(Preparation)> prepare;
    // Runs a batch on a device. Called on that device's worker thread; finishes every task of the
    // batch, does not throw. Returns how many images it executed: those that nobody waits for when
    // their turn comes need not be.
    std::function<int64_t(int device, const Batch& batch)> run;
  };

  // `clock` and `observer` outlive this.
  Batcher(const SchedulerOptions& options, Clock& clock, BatchObserver& observer,
          Callbacks callbacks);
  // Drops what still waits (kDraining), waits for what is being prepared, and joins the workers
  // after their current batch.
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // The images of one request (same model, caller, arrival, deadline; at least one): admitted all
  // together, or none, and then it says why. Once admitted each runs or is dropped.
  std::optional<Refusal> Submit(std::vector<std::unique_ptr<Task>> tasks);

  // The task can be run.
  void Ready(Preparation preparation);

  // Lets the policy look again now: some task's Cancelled() has become true.
  void Wake();

  // The device time of a forward as measured before serving: replaces what the cost model assumes
  // of that model.
  void SetProfile(int model, Duration fixed, double seconds_per_pixel);

  // An image was answered so long after the predicted end of its batch (less than zero: before
  // it): later batches and admissions leave that much before their deadlines.
  void Answered(int model, Duration after);

  // Device time that these pixels take in a well-filled batch, as predicted now; zero without a
  // profile.
  Duration PredictShare(int model, int64_t pixels) const;

  // From now on Submit refuses with kDraining. Admitted work goes on.
  void BeginDrain();
  // Waits until every task has run or was dropped, or until `deadline`; what still waits then is
  // dropped (kDraining). True if nothing had to be dropped for it.
  bool Drain(TimePoint deadline);

  QueueState State(int model) const;

 private:
  struct Monitor;
  std::unique_ptr<Monitor> monitor_;
};

}  // namespace spatialmamba
