#include "batching/batch_queue.h"

#include <algorithm>

namespace spatialmamba {
namespace {

TimePoint Earlier(TimePoint time, Duration by) {
  return time == TimePoint::max() ? time : time - by;
}

}  // namespace

// Everything that is counted over the entries; `sign` is 1 for one that comes, -1 for one that
// goes.
void BatchQueue::Account(const Entry& entry, int64_t sign) {
  pixels_ += sign * entry.pixels;
  waiting_bytes_ += sign * entry.bytes;
  switch (entry.stage) {
    case Stage::kWaiting:
      return;
    case Stage::kPreparing:
      preparing_ += sign;
      prepared_bytes_ += sign * entry.prepare_bytes;
      return;
    case Stage::kReady:
      ready_ += sign;
      prepared_bytes_ += sign * entry.ready_bytes;
      return;
  }
}

void BatchQueue::Push(std::unique_ptr<Task> task, uint64_t sequence) {
  task->sequence_ = sequence;
  const TaskInfo& info = task->info();
  Entry entry{.pixels = info.pixels,
              .arrival = info.arrival,
              .bytes = info.bytes,
              .prepare_bytes = info.prepare_bytes,
              .ready_bytes = info.ready_bytes};
  const Key key = KeyOf(*task);
  largest_pixels_ = std::max(entries_.empty() ? 0 : largest_pixels_, info.pixels);
  entry.task = std::move(task);
  Account(entry, 1);
  entries_.emplace(key, std::move(entry));
}

BatchQueue::Entries::const_iterator BatchQueue::FirstWaiting() const {
  if (ready_ + preparing_ == size()) return entries_.end();
  return std::find_if(entries_.begin(), entries_.end(),
                      [](const auto& entry) { return entry.second.stage == Stage::kWaiting; });
}

const Task* BatchQueue::NextToPrepare() const {
  const auto at = FirstWaiting();
  return at == entries_.end() ? nullptr : at->second.task.get();
}

std::unique_ptr<Task> BatchQueue::PopToPrepare() {
  Entry& entry = entries_.find(FirstWaiting()->first)->second;
  Account(entry, -1);
  entry.stage = Stage::kPreparing;
  Account(entry, 1);
  return std::move(entry.task);
}

void BatchQueue::PushReady(std::unique_ptr<Task> task) {
  Entry& entry = entries_.find(KeyOf(*task))->second;
  Account(entry, -1);
  entry.stage = Stage::kReady;
  entry.task = std::move(task);
  Account(entry, 1);
}

void BatchQueue::Forget(const Task& prepared) { Take(entries_.find(KeyOf(prepared))); }

std::unique_ptr<Task> BatchQueue::Take(Entries::iterator at) {
  Account(at->second, -1);
  std::unique_ptr<Task> task = std::move(at->second.task);
  entries_.erase(at);
  return task;
}

std::vector<Dropped> BatchQueue::PopExpired(TimePoint now, const CostModel& cost) {
  std::vector<Dropped> dropped;
  const TimePoint none_is_late_after = now + cost.PredictAtBest(largest_pixels_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto current = at++;
    const TimePoint deadline = current->first.first;
    if (deadline > none_is_late_after) break;
    const Entry& entry = current->second;
    const bool late = deadline <= now || deadline < now + cost.PredictAtBest(entry.pixels);
    if (entry.task && late) dropped.push_back({Take(current), DropReason::kDeadline});
  }
  return dropped;
}

std::vector<Dropped> BatchQueue::PopCancelled() {
  std::vector<Dropped> dropped;
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto current = at++;
    const Entry& entry = current->second;
    if (entry.task && entry.task->Cancelled()) {
      dropped.push_back({Take(current), DropReason::kCancelled});
    }
  }
  return dropped;
}

std::vector<Dropped> BatchQueue::PopAll(DropReason reason) {
  std::vector<Dropped> dropped;
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto current = at++;
    if (current->second.task) dropped.push_back({Take(current), reason});
  }
  return dropped;
}

BatchQueue::Ready BatchQueue::PopReady(TimePoint now, const CostModel& cost,
                                       const BatchLimits& limits) {
  Ready ready;
  std::vector<Candidate> candidates;
  std::vector<Key> keys;
  for (auto at = entries_.begin(); static_cast<int64_t>(keys.size()) < ready_; ++at) {
    const Entry& entry = at->second;
    if (entry.stage != Stage::kReady) continue;
    candidates.push_back({entry.pixels, entry.arrival, at->first.first});
    keys.push_back(at->first);
  }
  const BatchPlan plan = PlanBatch(candidates, cost, limits, now);
  int64_t i = 0;
  const auto take = [&] { return Take(entries_.find(keys[static_cast<size_t>(i++)])); };
  while (i < plan.late) ready.dropped.push_back({take(), DropReason::kDeadline});
  while (i < plan.late + plan.shed) ready.dropped.push_back({take(), DropReason::kOverloaded});
  while (i < plan.late + plan.shed + plan.take) ready.tasks.push_back(take());
  ready.pixels = plan.pixels;
  ready.cause = plan.cause;
  return ready;
}

TimePoint BatchQueue::NextWakeup(const CostModel& cost) const {
  const auto first = std::find_if(entries_.begin(), entries_.end(),
                                  [](const auto& entry) { return entry.second.task != nullptr; });
  if (first == entries_.end()) return TimePoint::max();
  const TimePoint last_start =
      Earlier(first->first.first, cost.PredictAtBest(first->second.pixels));
  if (last_start == TimePoint::max()) return last_start;
  // A moment later: a task that can just meet its deadline is kept.
  return std::min(first->first.first, last_start + Duration(1));
}

std::optional<TimePoint> BatchQueue::FirstDeadline() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.begin()->first.first;
}

std::optional<Candidate> BatchQueue::FirstReady() const {
  if (ready_ == 0) return std::nullopt;
  const auto first = std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) {
    return entry.second.stage == Stage::kReady;
  });
  return Candidate{first->second.pixels, first->second.arrival, first->first.first};
}

std::optional<TimePoint> BatchQueue::OldestArrival() const {
  if (entries_.empty()) return std::nullopt;
  return std::min_element(
             entries_.begin(), entries_.end(),
             [](const auto& a, const auto& b) { return a.second.arrival < b.second.arrival; })
      ->second.arrival;
}

BatchQueue::Work BatchQueue::Ahead(TimePoint deadline) const {
  if (entries_.empty() || entries_.rbegin()->first.first <= deadline) return all();
  Work work;
  for (const auto& [key, entry] : entries_) {
    if (key.first > deadline) break;
    ++work.images;
    work.pixels += entry.pixels;
  }
  return work;
}

bool BatchQueue::HasLater(TimePoint deadline) const {
  return !entries_.empty() && entries_.rbegin()->first.first > deadline;
}

std::vector<Candidate> BatchQueue::Candidates() const {
  std::vector<Candidate> candidates;
  candidates.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) {
    candidates.push_back({entry.pixels, entry.arrival, key.first});
  }
  return candidates;
}

}  // namespace spatialmamba
