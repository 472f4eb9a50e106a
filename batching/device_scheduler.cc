#include "batching/device_scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spatialmamba {
namespace {

// What a caller waits before it tries again where nothing better is known.
constexpr Duration kRetryLater = std::chrono::seconds(1);
constexpr Duration kShortestRetry = std::chrono::milliseconds(1);
// Batches of a device that are prepared ahead: one that waits for the device, and one that is being
// prepared while the device runs.
constexpr int64_t kBatchesAhead = 2;
constexpr int64_t kLeastAhead = 4;  // images
// A batch of this many times the fixed part loses little to it.
constexpr int64_t kEfficientMultipleOfFixed = 20;
// Offered device time per second and device, from which on batches are kept large by refusals.
constexpr double kHighLoad = 0.55;

TimePoint Later(TimePoint time, Duration by) {
  return time > TimePoint::max() - by ? TimePoint::max() : time + by;
}

int64_t Milliseconds(Duration duration) {
  return std::chrono::ceil<std::chrono::milliseconds>(duration).count();
}

int64_t RoundedUp(int64_t amount, int64_t by) { return (amount + by - 1) / by; }

}  // namespace

// What admission knows of a request.
struct DeviceScheduler::Request {
  int model = 0;
  uint64_t caller = 0;
  BatchQueue::Work work;
  int64_t bytes = 0;
  TimePoint deadline;
};

DeviceScheduler::DeviceScheduler(const SchedulerOptions& options) : options_(options) {
  for (const QueueOptions& model : options.models) models_.push_back({.options = model});
  running_.resize(static_cast<size_t>(options.devices));
}

void DeviceScheduler::SetProfile(int model, Duration fixed, double seconds_per_pixel) {
  at(model).cost.SetProfile(fixed, seconds_per_pixel);
}

// ---- Predictions.

BatchLimits DeviceScheduler::Limits(const Model& model) {
  return {.images = model.options.max_batch_size,
          .pixels = model.options.max_batch_pixels,
          .time = LongestUsefulBatch(model.cost),
          .margin = Margin(model)};
}

Duration DeviceScheduler::Margin(const Model& model) {
  const double seconds = std::max(0.0, model.answer_delay.value());
  return std::chrono::round<Duration>(std::chrono::duration<double>(seconds));
}

int64_t DeviceScheduler::BatchImages(const Model& model) {
  const BatchLimits limits = Limits(model);
  const BatchQueue::Work all = model.queue.all();
  if (all.images == 0) return limits.images;
  const int64_t pixels = std::max<int64_t>(1, all.pixels / all.images);
  int64_t images = limits.images;
  if (limits.pixels > 0) images = std::min(images, limits.pixels / pixels);
  const Duration each = model.cost.PredictShare(pixels);
  if (limits.time != Duration::max() && each > Duration::zero()) {
    images = std::min<int64_t>(images, (limits.time - model.cost.Predict(0)) / each);
  }
  return std::max<int64_t>(1, images);
}

Duration DeviceScheduler::Drain(const Model& model, BatchQueue::Work work) const {
  if (work.images == 0) return Duration::zero();
  const BatchLimits limits = Limits(model);
  int64_t batches = RoundedUp(work.images, limits.images);
  if (limits.pixels > 0) batches = std::max(batches, RoundedUp(work.pixels, limits.pixels));
  const Duration fixed = model.cost.Predict(0);
  const Duration share = model.cost.PredictShare(work.pixels);
  if (limits.time != Duration::max() && limits.time > fixed) {
    batches = std::max<int64_t>(batches, RoundedUp(share.count(), (limits.time - fixed).count()));
  }
  return fixed * std::min(batches, work.images) + share;
}

Duration DeviceScheduler::PredictLoad(int index, int64_t images, int64_t pixels) const {
  const Model& model = at(index);
  const BatchLimits limits = Limits(model);
  const Duration fixed = model.cost.Predict(0);
  const Duration share = model.cost.PredictShare(pixels);
  const auto ratio = [](auto part, auto whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  double batches = ratio(images, limits.images);
  if (limits.pixels > 0) batches = std::max(batches, ratio(pixels, limits.pixels));
  if (limits.time != Duration::max() && limits.time > fixed) {
    batches = std::max(batches, ratio(share.count(), (limits.time - fixed).count()));
  }
  // An image that is more than a batch may hold runs alone.
  batches = std::min(batches, static_cast<double>(images));
  return std::chrono::round<Duration>(batches * std::chrono::duration<double>(fixed)) + share;
}

TimePoint DeviceScheduler::FirstFree(TimePoint now) const {
  const std::vector<TimePoint> free = Free(now);
  return *std::min_element(free.begin(), free.end());
}

bool DeviceScheduler::IdleAndEmpty() const {
  return empty() && std::none_of(running_.begin(), running_.end(),
                                 [](const auto& running) { return running.has_value(); });
}

// When the request's last image is done at the earliest: after what runs, what is served before it
// in full batches, and itself.
TimePoint DeviceScheduler::EarliestFinish(const Request& request, TimePoint now) const {
  // On an idle device it is tried: a slow spell that ended unseen would be believed for ever.
  if (IdleAndEmpty()) return Later(now, at(request.model).cost.PredictAtBest(request.work.pixels));
  return Later(FirstFree(now), WorkAhead(request, BatchesAre::kFull) / options_.devices);
}

// Device time of the request and of what is served before it.
Duration DeviceScheduler::WorkAhead(const Request& request, BatchesAre batches) const {
  Duration time = Duration::zero();
  for (const Model& model : models_) {
    BatchQueue::Work work = model.queue.Ahead(request.deadline);
    if (&model == &at(request.model)) {
      work = {work.images + request.work.images, work.pixels + request.work.pixels};
    }
    time += batches == BatchesAre::kFull
                ? Drain(model, work)
                : model.cost.Predict(0) * work.images + model.cost.PredictShare(work.pixels);
  }
  return time;
}

// What would happen if the request were admitted and nothing else came. Where there is time for
// everything even one by one, and nobody behind it, that is clear; else the batches are forecast.
DeviceScheduler::Outlook DeviceScheduler::Look(const Request& request, TimePoint now) const {
  const bool last = std::none_of(models_.begin(), models_.end(), [&](const Model& model) {
    return model.queue.HasLater(request.deadline);
  });
  const TimePoint one_by_one =
      Later(FirstFree(now), WorkAhead(request, BatchesAre::kSingle) / options_.devices);
  if (last && Later(one_by_one, Margin(at(request.model))) <= request.deadline)
    return {.finish = EarliestFinish(request, now)};

  const std::vector<ForecastQueue> before = Queues();
  const std::vector<TimePoint> free = Free(now);
  std::vector<ForecastQueue> queues = before;
  // Its images stand behind all of the same deadline.
  std::vector<Candidate>& images = queues[static_cast<size_t>(request.model)].images;
  const auto place = std::upper_bound(
      images.begin(), images.end(), request.deadline,
      [](TimePoint deadline, const Candidate& c) { return deadline < c.deadline; });
  const auto first = static_cast<size_t>(place - images.begin());
  const auto count = static_cast<size_t>(request.work.images);
  images.insert(place, count, {request.work.pixels / request.work.images, now, request.deadline});
  std::vector<std::vector<TimePoint>> finish = Forecast(queues, free);
  std::vector<TimePoint>& same = finish[static_cast<size_t>(request.model)];
  const auto begin = same.begin() + static_cast<int64_t>(first);
  const auto end = begin + static_cast<int64_t>(count);
  Outlook outlook{.finish = *std::max_element(begin, end)};
  same.erase(begin, end);
  outlook.harm = Harm(before, finish, request, free);
  return outlook;
}

// By how much accepted work that was in time would be late with the request: the most. `queues` are
// those without it, `finish` is the forecast with it.
Duration DeviceScheduler::Harm(const std::vector<ForecastQueue>& queues,
                               const std::vector<std::vector<TimePoint>>& finish,
                               const Request& request, const std::vector<TimePoint>& free) const {
  std::vector<std::vector<TimePoint>> without;
  Duration harm = Duration::zero();
  for (size_t m = 0; m < finish.size(); ++m) {
    for (size_t i = 0; i < finish[m].size(); ++i) {
      const TimePoint deadline = queues[m].images[i].deadline;
      if (finish[m][i] <= deadline) continue;
      if (without.empty()) without = Forecast(queues, free);
      if (without[m][i] > deadline) continue;  // late anyway
      const bool given_up = finish[m][i] == TimePoint::max();
      harm = std::max(harm, given_up ? at(request.model).cost.Predict(request.work.pixels)
                                     : finish[m][i] - deadline);
    }
  }
  return harm;
}

std::vector<ForecastQueue> DeviceScheduler::Queues() const {
  std::vector<ForecastQueue> queues;
  for (const Model& model : models_) {
    queues.push_back({&model.cost, Limits(model), model.queue.Candidates()});
  }
  return queues;
}

std::vector<TimePoint> DeviceScheduler::Free(TimePoint now) const {
  std::vector<TimePoint> free;
  for (const std::optional<Running>& running : running_) {
    free.push_back(running ? std::max(running->until, now) : now);
  }
  return free;
}

// By how much the most urgent image that waits would be late in one batch with everything that
// waits and the request. Asked only under high load, and where deadlines are short against what a
// batch needs to be efficient: what does not fit into the batch after the running one then leaves
// the batch after that a head which is nearly late, and so small batches for ever, just when the
// load is highest.
Duration DeviceScheduler::LateHead(const Request& request, TimePoint now) const {
  const Model& model = at(request.model);
  const std::optional<TimePoint> head = model.queue.FirstDeadline();
  if (!head || *head == TimePoint::max()) return Duration::zero();
  if (models_share_.Demand(now) < kHighLoad * options_.devices) return Duration::zero();
  const Duration efficient = model.cost.Predict(0) * kEfficientMultipleOfFixed;
  if (efficient <= (request.deadline - now) / 2) return Duration::zero();
  const Duration batch =
      model.cost.Predict((model.queue.all().pixels + request.work.pixels) / options_.devices);
  return std::max(Duration::zero(), FirstFree(now) + batch + Margin(model) - *head);
}

// ---- Admission.

std::optional<Refusal> DeviceScheduler::Admit(std::vector<std::unique_ptr<Task>>& tasks,
                                              TimePoint now) {
  const TaskInfo& first = tasks.front()->info();
  Request request{.model = first.model, .caller = first.caller, .deadline = first.deadline};
  request.work.images = static_cast<int64_t>(tasks.size());
  for (const auto& task : tasks) {
    request.work.pixels += task->info().pixels;
    request.bytes += task->info().bytes;
  }
  Model& model = at(request.model);
  const Duration share = model.cost.PredictShare(request.work.pixels);
  callers_.Offer(request.caller, share, now);
  models_share_.Offer(static_cast<uint64_t>(request.model), share, now);
  TimePoint finish;
  if (std::optional<Refusal> refusal = Refuse(request, now, finish)) return refusal;

  for (auto& task : tasks) {
    task->predicted_finish_ = finish;
    task->held_ = model.cost.PredictShare(task->info().pixels);
    task->batches_at_admission_ = batches_;
    callers_.Hold(request.caller, task->held_);
    models_share_.Hold(static_cast<uint64_t>(request.model), task->held_);
    model.queue.Push(std::move(task), admitted_++);
  }
  tasks.clear();
  return std::nullopt;
}

std::optional<Refusal> DeviceScheduler::Refuse(const Request& request, TimePoint now,
                                               TimePoint& finish) const {
  if (draining_) {
    return Refusal{RefusalReason::kDraining, kRetryLater,
                   "the server is shutting down: send the request to another one"};
  }
  if (request.deadline <= now) {
    return Refusal{RefusalReason::kDeadline, Duration::zero(),
                   "the deadline had passed when the request arrived: allow it more time"};
  }
  const Duration least =
      at(request.model).cost.PredictAtBest(request.work.pixels / options_.devices);
  if (Later(now, least) > request.deadline) {
    return Refusal{RefusalReason::kDeadline, Duration::zero(),
                   absl::StrCat("the deadline leaves under ", Milliseconds(request.deadline - now),
                                " ms, but an idle device takes ", Milliseconds(least),
                                " ms: allow the request more time")};
  }
  if (std::optional<Refusal> refusal = RefuseForRoom(request, now)) return refusal;
  return RefuseForTime(request, now, finish);
}

std::optional<Refusal> DeviceScheduler::RefuseForRoom(const Request& request, TimePoint now) const {
  const Model& model = at(request.model);
  // The queue as a window of device time: what is left to others of it is left to them in places
  // and bytes too.
  const Duration each = model.cost.PredictShare(request.work.pixels) / request.work.images;
  const Duration window = each * model.options.max_queue / options_.devices;
  double kept = 0;
  if (window > Duration::zero()) {
    kept = static_cast<double>(callers_
                                   .Reserved(request.caller, each * request.work.images, window,
                                             options_.devices, now)
                                   .count()) /
           static_cast<double>(window.count() * options_.devices);
  }
  const auto places = static_cast<int64_t>(kept * static_cast<double>(model.options.max_queue));
  const int64_t depth = model.queue.size();
  const int64_t lacking = depth + request.work.images - (model.options.max_queue - places);
  const std::string for_others = kept > 0 ? ", part of which is kept for other callers" : "";
  if (lacking > 0) {
    const Duration retry = each > Duration::zero()
                               ? std::max(each * lacking / options_.devices, kShortestRetry)
                               : kRetryLater;
    return Refusal{RefusalReason::kQueueFull, retry,
                   absl::StrCat("the queue holds ", depth, " images of at most ",
                                model.options.max_queue, for_others, ", no room for ",
                                request.work.images, " more: try again later, or add servers")};
  }
  const auto bytes = static_cast<int64_t>(kept * static_cast<double>(options_.queue_bytes));
  if (Bytes() + request.bytes > options_.queue_bytes - bytes) {
    const Duration drain = Drain(model, model.queue.all()) / options_.devices;
    const Duration retry = model.cost.profiled() ? std::max(drain, kShortestRetry) : kRetryLater;
    return Refusal{RefusalReason::kQueueFull, retry,
                   absl::StrCat("what waits takes ", Bytes(), " bytes of at most ",
                                options_.queue_bytes, for_others, ", no room for ", request.bytes,
                                " more: try again later, or send smaller pictures")};
  }
  return std::nullopt;
}

std::optional<Refusal> DeviceScheduler::RefuseForTime(const Request& request, TimePoint now,
                                                      TimePoint& finish) const {
  finish = EarliestFinish(request, now);
  if (request.deadline == TimePoint::max()) return std::nullopt;
  const auto late = [&](Duration by) {
    return Refusal{RefusalReason::kOverloaded, std::max(by, kShortestRetry),
                   absl::StrCat("the answer would come ", Milliseconds(by),
                                " ms after the deadline because of the load: try again later")};
  };
  if (finish > request.deadline) return late(finish - request.deadline);
  if (IdleAndEmpty()) return std::nullopt;
  const Duration margin = Margin(at(request.model));
  if (finish + margin > request.deadline) return late(finish + margin - request.deadline);
  if (const Duration by = LateHead(request, now); by > Duration::zero()) {
    return Refusal{RefusalReason::kOverloaded, std::max(by, kShortestRetry),
                   "the next batch is as large as the deadlines of those in it allow: try again "
                   "later"};
  }
  const Duration reserved = ReservedForOthers(request, request.deadline - now, now);
  if (reserved > Duration::zero() && finish + reserved + margin > request.deadline) {
    return Refusal{RefusalReason::kOverloaded,
                   std::max(finish + reserved + margin - request.deadline, kShortestRetry),
                   "the time until the deadline is kept for other callers, and this one has its "
                   "share of the load already: try again later"};
  }
  const Outlook outlook = Look(request, now);
  if (outlook.finish == TimePoint::max()) {
    return late(at(request.model).cost.Predict(request.work.pixels));
  }
  if (outlook.finish + margin > request.deadline) {
    return late(outlook.finish + margin - request.deadline);
  }
  if (outlook.harm > Duration::zero()) {
    return Refusal{
        RefusalReason::kOverloaded, std::max(outlook.harm, kShortestRetry),
        absl::StrCat("requests that were accepted before would be ", Milliseconds(outlook.harm),
                     " ms late: try again later, or allow more time")};
  }
  finish = outlook.finish;
  return std::nullopt;
}

Duration DeviceScheduler::ReservedForOthers(const Request& request, Duration window,
                                            TimePoint now) const {
  const Duration work = at(request.model).cost.PredictShare(request.work.pixels);
  const Duration reserved =
      std::max(callers_.Reserved(request.caller, work, window, options_.devices, now),
               models_share_.Reserved(static_cast<uint64_t>(request.model), work, window,
                                      options_.devices, now));
  return reserved / options_.devices;
}

int64_t DeviceScheduler::Bytes() const {
  int64_t bytes = 0;
  for (const Model& model : models_) bytes += model.queue.waiting_bytes();
  return bytes;
}

int64_t DeviceScheduler::PreparedBytes() const {
  int64_t bytes = 0;
  for (const Model& model : models_) bytes += model.queue.prepared_bytes();
  return bytes;
}

// ---- Preparation.

std::unique_ptr<Task> DeviceScheduler::NextToPrepare() {
  Model* best = nullptr;
  TimePoint best_start;
  for (Model& model : models_) {
    const int64_t ahead = std::max(kLeastAhead, kBatchesAhead * BatchImages(model)) *
                          static_cast<int64_t>(options_.devices);
    if (model.queue.ready() + model.queue.preparing() >= ahead) continue;
    const Task* next = model.queue.NextToPrepare();
    if (next == nullptr) continue;
    const TimePoint deadline = next->info().deadline;
    const TimePoint start = deadline == TimePoint::max()
                                ? deadline
                                : deadline - model.cost.Predict(next->info().pixels);
    if (best == nullptr || start < best_start) {
      best = &model;
      best_start = start;
    }
  }
  if (best == nullptr) return nullptr;
  const int64_t used = PreparedBytes();
  const int64_t wanted = best->queue.NextToPrepare()->info().prepare_bytes;
  // The most urgent waits for room; smaller ones behind it must not take it away for ever.
  if (used > 0 && used + wanted > options_.prepared_bytes) return nullptr;
  return best->queue.PopToPrepare();
}

void DeviceScheduler::Prepared(std::unique_ptr<Task> task) {
  Model& model = at(task->info().model);
  model.queue.PushReady(std::move(task));
}

void DeviceScheduler::Forget(const Task& task) {
  Release(task);
  at(task.info().model).queue.Forget(task);
}

// ---- What is given up.

void DeviceScheduler::Release(const Task& task) {
  callers_.Release(task.info().caller, task.held_);
  models_share_.Release(static_cast<uint64_t>(task.info().model), task.held_);
}

void DeviceScheduler::Release(const std::vector<Dropped>& dropped) {
  for (const Dropped& one : dropped) Release(*one.task);
}

std::vector<Dropped> DeviceScheduler::PopExpired(TimePoint now) {
  std::vector<Dropped> dropped;
  for (Model& model : models_) {
    for (Dropped& one : model.queue.PopExpired(now, model.cost)) dropped.push_back(std::move(one));
  }
  Release(dropped);
  return dropped;
}

std::vector<Dropped> DeviceScheduler::PopCancelled() {
  std::vector<Dropped> dropped;
  for (Model& model : models_) {
    for (Dropped& one : model.queue.PopCancelled()) dropped.push_back(std::move(one));
  }
  Release(dropped);
  return dropped;
}

std::vector<Dropped> DeviceScheduler::PopAll(DropReason reason) {
  std::vector<Dropped> dropped;
  for (Model& model : models_) {
    for (Dropped& one : model.queue.PopAll(reason)) dropped.push_back(std::move(one));
  }
  Release(dropped);
  return dropped;
}

TimePoint DeviceScheduler::NextWakeup() const {
  TimePoint wakeup = TimePoint::max();
  for (const Model& model : models_) wakeup = std::min(wakeup, model.queue.NextWakeup(model.cost));
  return wakeup;
}

// ---- Dispatch.

std::optional<Batch> DeviceScheduler::NextBatch(int device, TimePoint now,
                                                std::vector<Dropped>& dropped) {
  for (;;) {
    std::vector<QueueHead> heads;
    for (const Model& model : models_) heads.push_back({model.queue.FirstReady(), &model.cost});
    const std::optional<size_t> next = LeastSlack(heads);
    if (!next) return std::nullopt;

    Model* const best = &models_[*next];
    BatchQueue::Ready ready = best->queue.PopReady(now, best->cost, Limits(*best));
    Release(ready.dropped);
    for (Dropped& one : ready.dropped) dropped.push_back(std::move(one));
    if (ready.tasks.empty()) continue;
    const bool last = draining_ && ready.cause == CloseCause::kIdle;
    Batch batch{.model = static_cast<int>(best - models_.data()),
                .cause = last ? CloseCause::kDrain : ready.cause,
                .formed = now,
                .predicted = best->cost.Predict(ready.pixels),
                .pixels = ready.pixels,
                .tasks = std::move(ready.tasks)};
    Running running{.model = batch.model, .pixels = batch.pixels, .until = now + batch.predicted};
    for (const auto& task : batch.tasks) {
      task->batches_ahead_ = static_cast<int64_t>(batches_ - task->batches_at_admission_);
      task->predicted_batch_end_ = now + batch.predicted;
      running.held.emplace_back(task->info().caller, task->held_);
    }
    running_[static_cast<size_t>(device)] = std::move(running);
    ++batches_;
    return batch;
  }
}

void DeviceScheduler::Finished(int device, Duration taken, bool whole) {
  const Running running = *std::exchange(running_[static_cast<size_t>(device)], std::nullopt);
  for (const auto& [caller, held] : running.held) {
    callers_.Release(caller, held);
    models_share_.Release(static_cast<uint64_t>(running.model), held);
  }
  if (whole) at(running.model).cost.Observe(running.pixels, taken);
}

void DeviceScheduler::Answered(int model, Duration after) {
  at(model).answer_delay.Observe(std::chrono::duration<double>(after).count());
}

bool DeviceScheduler::HasReady() const {
  return std::any_of(models_.begin(), models_.end(),
                     [](const Model& model) { return model.queue.ready() > 0; });
}

bool DeviceScheduler::empty() const {
  return std::all_of(models_.begin(), models_.end(),
                     [](const Model& model) { return model.queue.empty(); });
}

QueueState DeviceScheduler::State(int index, TimePoint now) const {
  const Model& model = at(index);
  QueueState state{.depth = model.queue.size(), .capacity = model.options.max_queue};
  if (const std::optional<TimePoint> oldest = model.queue.OldestArrival()) {
    state.oldest_age = std::max(Duration::zero(), now - *oldest);
  }
  state.predicted_drain = Drain(model, model.queue.all());
  return state;
}

}  // namespace spatialmamba
