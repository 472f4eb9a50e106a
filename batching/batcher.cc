#include "batching/batcher.h"

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace spatialmamba {

// Everything below `mutex` is guarded by it. Callbacks (tasks, observer, preparation, runner) are
// called without it.
struct Batcher::Monitor {
  Monitor(Batcher& batcher, const SchedulerOptions& options, Clock& time, BatchObserver& hears,
          Callbacks calls)
      : owner(batcher),
        clock(time),
        observer(hears),
        callbacks(std::move(calls)),
        scheduler(options) {}

  // Runs batches on one device until it is stopped.
  void Work(const std::stop_token& stop, int device) {
    std::unique_lock lock(mutex);
    for (;;) {
      clock.WaitUntil(lock, changed, TimePoint::max(),
                      [&] { return stop.stop_requested() || scheduler.HasReady(); });
      if (stop.stop_requested()) return;
      const TimePoint now = clock.Now();
      // Nothing of it that nobody waits for any more is launched.
      std::vector<Dropped> dropped = scheduler.PopExpired(now);
      Append(dropped, scheduler.PopCancelled());
      std::optional<Batch> batch = scheduler.NextBatch(device, now, dropped);
      if (batch) ++running;
      Settle(lock, std::move(dropped));
      if (!batch) continue;
      lock.unlock();
      const BatchReport report = Run(device, *std::exchange(batch, std::nullopt));
      lock.lock();
      --running;
      scheduler.Finished(device, report.busy, report.whole);
      changed.notify_all();
    }
  }

  BatchReport Run(int device, Batch batch) {
    const auto images = static_cast<int64_t>(batch.tasks.size());
    BatchReport report{.model = batch.model, .device = device, .predicted = batch.predicted};
    observer.OnBatchStarted(batch, batch.formed);
    try {
      report.images = callbacks.run(device, batch);
    } catch (...) {
      // Promised not to happen. The tasks are destroyed, which ends their calls; the worker goes
      // on.
    }
    batch.tasks.clear();
    report.busy = clock.Now() - batch.formed;
    report.whole = report.images == images;
    observer.OnBatchFinished(report);
    return report;
  }

  // Drops what expires or is cancelled while all devices are busy.
  void Reap(const std::stop_token& stop) {
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      next_look = scheduler.NextWakeup();
      clock.WaitUntil(lock, changed, next_look,
                      [&] { return stop.stop_requested() || look_again || cancelled; });
      // Before the look, not after it: what changes while calls are answered needs another one.
      look_again = false;
      std::vector<Dropped> dropped = scheduler.PopExpired(clock.Now());
      if (std::exchange(cancelled, false)) Append(dropped, scheduler.PopCancelled());
      Settle(lock, std::move(dropped));
    }
  }

  static void Append(std::vector<Dropped>& all, std::vector<Dropped> more) {
    for (Dropped& one : more) all.push_back(std::move(one));
  }

  // After every change: tells what was dropped, and starts the preparations for which there is room
  // now. The lock is released meanwhile.
  void Settle(std::unique_lock<std::mutex>& lock, std::vector<Dropped> dropped) {
    std::vector<std::unique_ptr<Task>> preparations;
    while (std::unique_ptr<Task> task = scheduler.NextToPrepare()) {
      preparations.push_back(std::move(task));
    }
    if (scheduler.NextWakeup() < next_look) look_again = true;
    changed.notify_all();
    if (dropped.empty() && preparations.empty()) return;
    std::vector<Duration> saved;
    for (const Dropped& one : dropped) {
      const TaskInfo& info = one.task->info();
      saved.push_back(scheduler.cost(info.model).PredictShare(info.pixels));
    }
    running += 1;  // not idle until the calls are answered
    lock.unlock();
    for (size_t i = 0; i < dropped.size(); ++i) {
      observer.OnDropped(dropped[i].task->info().model, dropped[i].reason, saved[i]);
      dropped[i].task->Drop(dropped[i].reason);
      dropped[i].task.reset();
    }
    for (auto& task : preparations) callbacks.prepare(Preparation(owner, std::move(task)));
    lock.lock();
    running -= 1;
    changed.notify_all();
  }

  void GiveUp(const Task& task) {
    std::unique_lock lock(mutex);
    scheduler.Forget(task);
    Settle(lock, {});
  }

  bool Idle() const { return running == 0 && scheduler.empty(); }

  Batcher& owner;
  Clock& clock;
  BatchObserver& observer;
  const Callbacks callbacks;

  mutable std::mutex mutex;
  std::condition_variable changed;  // anything below has changed
  DeviceScheduler scheduler;
  int running = 0;  // batches and callbacks under way
  TimePoint next_look = TimePoint::max();
  bool look_again = false;  // for Reap: something can expire before next_look
  bool cancelled = false;   // for Reap: a task may have been cancelled
  bool drained = false;     // what becomes ready from now on is dropped

  std::vector<std::jthread> threads;  // last: joined first
};

Batcher::Preparation::~Preparation() {
  if (task_) batcher_->monitor_->GiveUp(*task_);
}

Batcher::Batcher(const SchedulerOptions& options, Clock& clock, BatchObserver& observer,
                 Callbacks callbacks)
    : monitor_(std::make_unique<Monitor>(*this, options, clock, observer, std::move(callbacks))) {
  Monitor* monitor = monitor_.get();
  for (int device = 0; device < options.devices; ++device) {
    monitor->threads.emplace_back(
        [monitor, device](const std::stop_token& stop) { monitor->Work(stop, device); });
  }
  monitor->threads.emplace_back([monitor](const std::stop_token& stop) { monitor->Reap(stop); });
}

Batcher::~Batcher() {
  Drain(monitor_->clock.Now());
  {
    std::unique_lock lock(monitor_->mutex);
    // What is being prepared comes back first.
    monitor_->clock.WaitUntil(lock, monitor_->changed, TimePoint::max(),
                              [&] { return monitor_->Idle(); });
    for (std::jthread& thread : monitor_->threads) thread.request_stop();
  }
  monitor_->changed.notify_all();
  monitor_->threads.clear();
}

std::optional<Refusal> Batcher::Submit(std::vector<std::unique_ptr<Task>> tasks) {
  const TimePoint now = monitor_->clock.Now();
  const int model = tasks.front()->info().model;
  const auto images = static_cast<int64_t>(tasks.size());
  int64_t pixels = 0;
  for (const auto& task : tasks) pixels += task->info().pixels;
  std::optional<Refusal> refusal;
  Duration predicted = Duration::zero();
  {
    std::unique_lock lock(monitor_->mutex);
    predicted = monitor_->scheduler.PredictLoad(model, images, pixels);
    refusal = monitor_->scheduler.Admit(tasks, now);
    if (!refusal) monitor_->Settle(lock, {});
  }
  monitor_->observer.OnOffered(model, images, predicted);
  if (refusal) monitor_->observer.OnRefused(model, images, refusal->reason);
  return refusal;
}

void Batcher::Ready(Preparation preparation) {
  std::unique_lock lock(monitor_->mutex);
  monitor_->scheduler.Prepared(std::move(preparation.task_));
  monitor_->Settle(lock, monitor_->drained ? monitor_->scheduler.PopAll(DropReason::kDraining)
                                           : std::vector<Dropped>());
}

void Batcher::Wake() {
  {
    const std::lock_guard lock(monitor_->mutex);
    monitor_->cancelled = true;
  }
  monitor_->changed.notify_all();
}

void Batcher::SetProfile(int model, Duration fixed, double seconds_per_pixel) {
  const std::lock_guard lock(monitor_->mutex);
  monitor_->scheduler.SetProfile(model, fixed, seconds_per_pixel);
}

void Batcher::Answered(int model, Duration after) {
  const std::lock_guard lock(monitor_->mutex);
  monitor_->scheduler.Answered(model, after);
}

Duration Batcher::PredictShare(int model, int64_t pixels) const {
  const std::lock_guard lock(monitor_->mutex);
  return monitor_->scheduler.cost(model).PredictShare(pixels);
}

void Batcher::BeginDrain() {
  const std::lock_guard lock(monitor_->mutex);
  monitor_->scheduler.BeginDrain();
}

bool Batcher::Drain(TimePoint deadline) {
  BeginDrain();
  std::unique_lock lock(monitor_->mutex);
  const bool finished = monitor_->clock.WaitUntil(lock, monitor_->changed, deadline,
                                                  [&] { return monitor_->Idle(); });
  monitor_->drained = true;
  if (finished) return true;
  const bool nothing_waited = monitor_->scheduler.empty();
  monitor_->Settle(lock, monitor_->scheduler.PopAll(DropReason::kDraining));
  return nothing_waited;
}

QueueState Batcher::State(int model) const {
  const TimePoint now = monitor_->clock.Now();
  const std::lock_guard lock(monitor_->mutex);
  return monitor_->scheduler.State(model, now);
}

}  // namespace spatialmamba
