#include "batching/batcher.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "batching/batch_queue.h"
#include "batching/cost_model.h"
#include "batching/device_scheduler.h"

namespace spatialmamba {
namespace {

// What a caller waits before it tries again where nothing better is known.
constexpr Duration kRetryLater = std::chrono::seconds(1);
constexpr Duration kShortestRetry = std::chrono::milliseconds(1);

TimePoint Later(TimePoint time, Duration by) {
  return time > TimePoint::max() - by ? TimePoint::max() : time + by;
}

int64_t Milliseconds(Duration duration) {
  return std::chrono::ceil<std::chrono::milliseconds>(duration).count();
}

}  // namespace

// Everything below `mutex` is guarded by it. Callbacks (tasks, observer, runner) are called without
// it.
struct Batcher::Monitor {
  struct Model {
    QueueOptions options;
    BatchQueue queue;
    CostModel cost;
    int64_t places = 0;  // admitted, not yet submitted
    int64_t place_pixels = 0;

    int64_t depth() const { return places + queue.size(); }
    Duration Drain(int64_t images, int64_t pixels) const {
      const int64_t batches = (images + options.max_batch_size - 1) / options.max_batch_size;
      return batches * cost.Predict(0) + cost.PredictShare(pixels);
    }
  };

  Monitor(const BatcherOptions& options, Clock& time, BatchObserver& hears, RunBatch runner)
      : clock(time), observer(hears), run(std::move(runner)), queue_bytes(options.queue_bytes) {
    for (const QueueOptions& model : options.models) models.push_back({.options = model});
    busy_until.resize(static_cast<size_t>(options.devices));
  }

  // Runs batches on one device until it is stopped.
  void Work(const std::stop_token& stop, int device) {
    std::unique_lock lock(mutex);
    for (;;) {
      clock.WaitUntil(lock, changed, TimePoint::max(),
                      [&] { return stop.stop_requested() || HasTasks(); });
      if (stop.stop_requested()) return;
      DropExpired(lock);
      std::optional<Batch> batch = NextBatch();
      if (!batch) continue;
      const int model = batch->model;
      const int64_t pixels = batch->pixels;
      const auto images = static_cast<int64_t>(batch->tasks.size());
      const TimePoint begun = batch->formed;
      busy_until[static_cast<size_t>(device)] =
          begun + models[static_cast<size_t>(model)].cost.Predict(pixels);
      ++running;
      lock.unlock();
      observer.OnBatchStarted(*batch, begun);
      try {
        run(device, *std::exchange(batch, std::nullopt));
      } catch (...) {
        // Promised not to happen. The tasks were destroyed on the way here, which ends their calls;
        // the worker goes on.
      }
      const Duration busy = clock.Now() - begun;
      observer.OnBatchFinished(model, device, images, busy);
      lock.lock();
      --running;
      busy_until[static_cast<size_t>(device)].reset();
      models[static_cast<size_t>(model)].cost.Observe(pixels, busy);
      changed.notify_all();
    }
  }

  // Drops what expires or is cancelled while all devices are busy.
  void Reap(const std::stop_token& stop) {
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      TimePoint wakeup = TimePoint::max();
      for (const Model& model : models) wakeup = std::min(wakeup, model.queue.NextWakeup());
      clock.WaitUntil(lock, changed, wakeup, [&] { return stop.stop_requested() || look_again; });
      // Before the look, not after it: what changes while calls are answered needs another one.
      look_again = false;
      DropExpired(lock);
    }
  }

  bool HasTasks() const {
    return std::any_of(models.begin(), models.end(),
                       [](const Model& m) { return !m.queue.empty(); });
  }

  bool Idle() const {
    return running == 0 &&
           std::all_of(models.begin(), models.end(), [](const Model& m) { return m.depth() == 0; });
  }

  std::optional<Batch> NextBatch() {
    std::vector<QueueSummary> summaries;
    for (const Model& model : models) {
      if (model.queue.empty()) {
        summaries.emplace_back();
        continue;
      }
      summaries.push_back({.empty = false,
                           .earliest_deadline = model.queue.NextWakeup(),
                           .oldest_arrival = *model.queue.OldestArrival(),
                           .predicted = model.cost.Predict(0)});
    }
    const std::optional<size_t> next = DeviceScheduler::Next(summaries);
    if (!next) return std::nullopt;
    Model& model = models[*next];
    BatchQueue::Ready ready = model.queue.PopReady(
        {.images = model.options.max_batch_size, .pixels = model.options.max_batch_pixels});
    const CloseCause cause = ready.full ? CloseCause::kFull
                             : draining ? CloseCause::kDrain
                                        : CloseCause::kIdle;
    return Batch{.model = static_cast<int>(*next),
                 .cause = cause,
                 .formed = clock.Now(),
                 .pixels = ready.pixels,
                 .tasks = std::move(ready.tasks)};
  }

  // Takes out what must not run and tells it so; the lock is released meanwhile.
  void DropExpired(std::unique_lock<std::mutex>& lock) {
    const TimePoint now = clock.Now();
    std::vector<Dropped> dropped;
    for (Model& model : models) {
      for (Dropped& one : model.queue.PopExpired(now)) dropped.push_back(std::move(one));
    }
    Drop(lock, std::move(dropped));
  }

  void Drop(std::unique_lock<std::mutex>& lock, std::vector<Dropped> dropped) {
    if (dropped.empty()) return;
    std::vector<Duration> saved;
    for (const Dropped& one : dropped) {
      const TaskInfo& info = one.task->info();
      saved.push_back(models[static_cast<size_t>(info.model)].cost.PredictShare(info.pixels));
    }
    running += 1;  // not idle until the calls are answered
    lock.unlock();
    for (size_t i = 0; i < dropped.size(); ++i) {
      observer.OnDropped(dropped[i].task->info().model, dropped[i].reason, saved[i]);
      dropped[i].task->Drop(dropped[i].reason);
      dropped[i].task.reset();
    }
    lock.lock();
    running -= 1;
    changed.notify_all();
  }

  // Why the request cannot be taken now, if it cannot.
  std::optional<Refusal> Refuse(const AdmissionRequest& request, TimePoint now) const {
    const Model& model = models[static_cast<size_t>(request.model)];
    if (draining) {
      return Refusal{RefusalReason::kDraining, kRetryLater,
                     "the server is shutting down: send the request to another one"};
    }
    if (request.deadline <= now) {
      return Refusal{RefusalReason::kDeadline, Duration::zero(),
                     "the deadline had passed when the request arrived: allow it more time"};
    }
    const Duration least = model.cost.PredictAtBest(request.pixels);
    if (Later(now, least) > request.deadline) {
      return Refusal{
          RefusalReason::kDeadline, Duration::zero(),
          absl::StrCat("the deadline leaves under ", Milliseconds(request.deadline - now),
                       " ms, but an idle device takes ", Milliseconds(least),
                       " ms: allow the request more time")};
    }
    const Duration drain = model.Drain(model.depth(), model.place_pixels + model.queue.pixels());
    const Duration retry = model.cost.profiled() ? std::max(drain, kShortestRetry) : kRetryLater;
    if (model.depth() + request.images > model.options.max_queue) {
      return Refusal{RefusalReason::kQueueFull, retry,
                     absl::StrCat("the queue holds ", model.depth(), " images of at most ",
                                  model.options.max_queue, ", no room for ", request.images,
                                  " more: try again later, or add servers")};
    }
    if (Bytes() + request.bytes > queue_bytes) {
      return Refusal{RefusalReason::kQueueFull, retry,
                     absl::StrCat("what waits takes ", Bytes(), " bytes of at most ", queue_bytes,
                                  ", no room for ", request.bytes,
                                  " more: try again later, or send smaller pictures")};
    }
    const TimePoint finish = PredictFinish(request, now);
    if (finish > request.deadline) {
      return Refusal{RefusalReason::kOverloaded,
                     std::max(finish - request.deadline, kShortestRetry),
                     absl::StrCat("the answer would come ", Milliseconds(finish - request.deadline),
                                  " ms after the deadline because of the load: try again later")};
    }
    return std::nullopt;
  }

  // When the request's last image would be done: after the running batches, what is served before
  // it, and itself.
  TimePoint PredictFinish(const AdmissionRequest& request, TimePoint now) const {
    TimePoint free = TimePoint::max();
    for (const std::optional<TimePoint>& busy : busy_until) {
      free = std::min(free, busy ? std::max(*busy, now) : now);
    }
    Duration ahead = Duration::zero();
    for (const Model& model : models) {
      const BatchQueue::Work work = model.queue.Ahead(request.deadline);
      ahead += model.Drain(model.places + work.images, model.place_pixels + work.pixels);
    }
    const Duration own = models[static_cast<size_t>(request.model)].cost.Predict(request.pixels);
    return Later(free, ahead / static_cast<int64_t>(busy_until.size()) + own);
  }

  int64_t Bytes() const {
    int64_t bytes = place_bytes;
    for (const Model& model : models) bytes += model.queue.bytes();
    return bytes;
  }

  void GiveBack(Admission& admission) {
    {
      const std::lock_guard lock(mutex);
      Model& model = models[static_cast<size_t>(admission.model_)];
      model.places -= admission.places_;
      model.place_pixels -= admission.pixels_;
      place_bytes -= admission.bytes_;
    }
    changed.notify_all();
  }

  Clock& clock;
  BatchObserver& observer;
  const RunBatch run;
  const int64_t queue_bytes;

  mutable std::mutex mutex;
  std::condition_variable changed;  // anything below has changed
  std::vector<Model> models;
  int64_t place_bytes = 0;
  std::vector<std::optional<TimePoint>> busy_until;  // by device; empty: free
  int running = 0;                                   // batches and callbacks under way
  bool look_again = false;  // for Reap: a new earliest deadline, or a cancellation
  bool draining = false;
  bool drained = false;  // what is submitted from now on is dropped

  std::vector<std::jthread> threads;  // last: joined first
};

Batcher::Admission::Admission(Admission&& other) noexcept { *this = std::move(other); }

Batcher::Admission& Batcher::Admission::operator=(Admission&& other) noexcept {
  if (this == &other) return *this;
  if (batcher_ != nullptr && places_ > 0) batcher_->monitor_->GiveBack(*this);
  batcher_ = std::exchange(other.batcher_, nullptr);
  model_ = other.model_;
  places_ = std::exchange(other.places_, 0);
  bytes_ = std::exchange(other.bytes_, 0);
  pixels_ = std::exchange(other.pixels_, 0);
  return *this;
}

Batcher::Admission Batcher::Admission::TakeOne(int64_t pixels, int64_t bytes) {
  Admission one;
  one.batcher_ = batcher_;
  one.model_ = model_;
  one.places_ = 1;
  one.pixels_ = std::min(pixels, pixels_);
  one.bytes_ = std::min(bytes, bytes_);
  places_ -= 1;
  if (places_ == 0) {  // the last takes what rounding may have left
    one.pixels_ = pixels_;
    one.bytes_ = bytes_;
  }
  pixels_ -= one.pixels_;
  bytes_ -= one.bytes_;
  return one;
}

Batcher::Admission::~Admission() {
  if (batcher_ != nullptr && places_ > 0) batcher_->monitor_->GiveBack(*this);
}

Batcher::Batcher(const BatcherOptions& options, Clock& clock, BatchObserver& observer, RunBatch run)
    : monitor_(std::make_unique<Monitor>(options, clock, observer, std::move(run))) {
  Monitor* monitor = monitor_.get();
  for (int device = 0; device < options.devices; ++device) {
    monitor->threads.emplace_back(
        [monitor, device](const std::stop_token& stop) { monitor->Work(stop, device); });
  }
  monitor->threads.emplace_back([monitor](const std::stop_token& stop) { monitor->Reap(stop); });
}

Batcher::~Batcher() {
  {
    std::unique_lock lock(monitor_->mutex);
    monitor_->draining = true;
    monitor_->drained = true;
    std::vector<Dropped> dropped;
    for (Monitor::Model& model : monitor_->models) {
      for (Dropped& one : model.queue.PopAll(DropReason::kDraining))
        dropped.push_back(std::move(one));
    }
    monitor_->Drop(lock, std::move(dropped));
    for (std::jthread& thread : monitor_->threads) thread.request_stop();
  }
  monitor_->changed.notify_all();
  monitor_->threads.clear();
}

std::variant<Batcher::Admission, Refusal> Batcher::Admit(const AdmissionRequest& request) {
  const TimePoint now = monitor_->clock.Now();
  Duration predicted = Duration::zero();
  std::optional<Refusal> refusal;
  Admission admission;
  {
    const std::lock_guard lock(monitor_->mutex);
    Monitor::Model& model = monitor_->models[static_cast<size_t>(request.model)];
    predicted = model.Drain(request.images, request.pixels);
    refusal = monitor_->Refuse(request, now);
    if (!refusal) {
      model.places += request.images;
      model.place_pixels += request.pixels;
      monitor_->place_bytes += request.bytes;
      admission.batcher_ = this;
      admission.model_ = request.model;
      admission.places_ = request.images;
      admission.bytes_ = request.bytes;
      admission.pixels_ = request.pixels;
    }
  }
  monitor_->observer.OnOffered(request.model, request.images, predicted);
  if (!refusal) return admission;
  monitor_->observer.OnRefused(request.model, request.images, refusal->reason);
  return *std::move(refusal);
}

void Batcher::Submit(Admission& admission, std::unique_ptr<Task> task) {
  {
    std::unique_lock lock(monitor_->mutex);
    Monitor::Model& model = monitor_->models[static_cast<size_t>(admission.model_)];
    const int64_t pixels = std::min(admission.pixels_, task->info().pixels);
    // The last task takes all bytes that are left, so that no rounding of the caller's stays
    // reserved.
    const int64_t bytes =
        admission.places_ == 1 ? admission.bytes_ : std::min(admission.bytes_, task->info().bytes);
    model.places -= 1;
    model.place_pixels -= admission.places_ == 1 ? admission.pixels_ : pixels;
    monitor_->place_bytes -= bytes;
    admission.places_ -= 1;
    admission.pixels_ -= pixels;
    admission.bytes_ -= bytes;
    if (monitor_->drained) {
      std::vector<Dropped> dropped;
      dropped.push_back({std::move(task), DropReason::kDraining});
      monitor_->Drop(lock, std::move(dropped));
      return;
    }
    model.queue.Push(std::move(task));
    monitor_->look_again = true;
  }
  monitor_->changed.notify_all();
}

void Batcher::Wake() {
  {
    const std::lock_guard lock(monitor_->mutex);
    monitor_->look_again = true;
  }
  monitor_->changed.notify_all();
}

void Batcher::SetProfile(int model, Duration fixed, double seconds_per_pixel) {
  const std::lock_guard lock(monitor_->mutex);
  monitor_->models[static_cast<size_t>(model)].cost.SetProfile(fixed, seconds_per_pixel);
}

Duration Batcher::PredictShare(int model, int64_t pixels) const {
  const std::lock_guard lock(monitor_->mutex);
  return monitor_->models[static_cast<size_t>(model)].cost.PredictShare(pixels);
}

void Batcher::BeginDrain() {
  const std::lock_guard lock(monitor_->mutex);
  monitor_->draining = true;
}

bool Batcher::Drain(TimePoint deadline) {
  BeginDrain();
  std::unique_lock lock(monitor_->mutex);
  const bool finished = monitor_->clock.WaitUntil(lock, monitor_->changed, deadline,
                                                  [&] { return monitor_->Idle(); });
  monitor_->drained = true;
  if (finished) return true;
  std::vector<Dropped> dropped;
  for (Monitor::Model& model : monitor_->models) {
    for (Dropped& one : model.queue.PopAll(DropReason::kDraining))
      dropped.push_back(std::move(one));
  }
  const bool nothing_waited = dropped.empty();
  monitor_->Drop(lock, std::move(dropped));
  return nothing_waited;
}

QueueState Batcher::State(int model) const {
  const TimePoint now = monitor_->clock.Now();
  const std::lock_guard lock(monitor_->mutex);
  const Monitor::Model& one = monitor_->models[static_cast<size_t>(model)];
  QueueState state{.depth = one.depth(), .capacity = one.options.max_queue};
  if (const std::optional<TimePoint> oldest = one.queue.OldestArrival()) {
    state.oldest_age = std::max(Duration::zero(), now - *oldest);
  }
  state.predicted_drain = one.Drain(one.depth(), one.place_pixels + one.queue.pixels());
  return state;
}

}  // namespace spatialmamba
