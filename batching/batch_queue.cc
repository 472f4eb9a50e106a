#include "batching/batch_queue.h"

#include <algorithm>

namespace spatialmamba {

void BatchQueue::Push(std::unique_ptr<Task> task) {
  pixels_ += task->info().pixels;
  bytes_ += task->info().bytes;
  const Key key{task->info().deadline, pushed_++};
  tasks_.emplace(key, std::move(task));
}

std::unique_ptr<Task> BatchQueue::Take(std::map<Key, std::unique_ptr<Task>>::iterator at) {
  std::unique_ptr<Task> task = std::move(at->second);
  tasks_.erase(at);
  pixels_ -= task->info().pixels;
  bytes_ -= task->info().bytes;
  return task;
}

std::vector<Dropped> BatchQueue::PopExpired(TimePoint now) {
  std::vector<Dropped> dropped;
  for (auto at = tasks_.begin(); at != tasks_.end();) {
    const auto current = at++;
    if (current->second->Cancelled()) {
      dropped.push_back({Take(current), DropReason::kCancelled});
    } else if (current->first.first <= now) {
      dropped.push_back({Take(current), DropReason::kDeadline});
    }
  }
  return dropped;
}

std::vector<Dropped> BatchQueue::PopAll(DropReason reason) {
  std::vector<Dropped> dropped;
  while (!tasks_.empty()) dropped.push_back({Take(tasks_.begin()), reason});
  return dropped;
}

BatchQueue::Ready BatchQueue::PopReady(const Budget& budget) {
  Ready ready;
  while (!tasks_.empty()) {
    const int64_t pixels = tasks_.begin()->second->info().pixels;
    const bool first = ready.tasks.empty();
    const bool fits = budget.pixels == 0 || ready.pixels + pixels <= budget.pixels;
    if (!first && (static_cast<int64_t>(ready.tasks.size()) >= budget.images || !fits)) {
      ready.full = true;
      break;
    }
    ready.pixels += pixels;
    ready.tasks.push_back(Take(tasks_.begin()));
  }
  if (static_cast<int64_t>(ready.tasks.size()) >= budget.images) ready.full = true;
  return ready;
}

TimePoint BatchQueue::NextWakeup() const {
  return tasks_.empty() ? TimePoint::max() : tasks_.begin()->first.first;
}

BatchQueue::Work BatchQueue::Ahead(TimePoint deadline) const {
  Work work;
  for (const auto& [key, task] : tasks_) {
    if (key.first > deadline) break;
    ++work.images;
    work.pixels += task->info().pixels;
  }
  return work;
}

std::optional<TimePoint> BatchQueue::OldestArrival() const {
  if (tasks_.empty()) return std::nullopt;
  const auto oldest =
      std::min_element(tasks_.begin(), tasks_.end(), [](const auto& a, const auto& b) {
        return a.second->info().arrival < b.second->info().arrival;
      });
  return oldest->second->info().arrival;
}

}  // namespace spatialmamba
