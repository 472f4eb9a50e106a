#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "batching/observer.h"
#include "batching/task.h"

namespace spatialmamba {

// What became of tasks, by number. Waits are in real time, bounded, and end as soon as the thing
// has happened.
class Record {
 public:
  enum class Fate { kRan, kDeadline, kOverloaded, kCancelled, kDraining, kLost };

  void Note(int id, Fate fate) {
    {
      const std::lock_guard lock(mutex_);
      fates_[id].push_back(fate);
    }
    changed_.notify_all();
  }

  // The task's one fate; nothing if it has none within ten seconds, or several.
  std::optional<Fate> Of(int id) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return fates_.contains(id); });
    if (fates_[id].size() != 1) return std::nullopt;
    return fates_[id].front();
  }

  bool Has(int id) {
    const std::lock_guard lock(mutex_);
    return fates_.contains(id);
  }

  size_t size() {
    const std::lock_guard lock(mutex_);
    return fates_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, std::vector<Fate>> fates_;
};

class RecordedTask final : public Task {
 public:
  RecordedTask(const TaskInfo& task, int number, Record* where,
               std::shared_ptr<std::atomic<bool>> cancel = nullptr)
      : Task(task), id(number), record(where), cancelled(std::move(cancel)) {}
  ~RecordedTask() override {
    if (!done && record != nullptr) record->Note(id, Record::Fate::kLost);
  }

  bool Cancelled() const override { return cancelled && cancelled->load(); }
  void Drop(DropReason reason) override {
    done = true;
    switch (reason) {
      case DropReason::kDeadline:
        return record->Note(id, Record::Fate::kDeadline);
      case DropReason::kOverloaded:
        return record->Note(id, Record::Fate::kOverloaded);
      case DropReason::kCancelled:
        return record->Note(id, Record::Fate::kCancelled);
      case DropReason::kDraining:
        return record->Note(id, Record::Fate::kDraining);
    }
  }
  void Run() {
    done = true;
    record->Note(id, Record::Fate::kRan);
  }

  const int id;
  Record* const record;
  const std::shared_ptr<std::atomic<bool>> cancelled;
  bool done = false;
};

// Counts what the batcher tells.
class CountingObserver final : public BatchObserver {
 public:
  void OnOffered(int, int64_t images, Duration) override { offered += images; }
  void OnRefused(int, int64_t images, RefusalReason) override { refused += images; }
  void OnDropped(int, DropReason, Duration saved) override {
    ++dropped;
    saved_nanoseconds += std::chrono::nanoseconds(saved).count();
  }
  void OnBatchStarted(const Batch& batch, TimePoint) override {
    started += static_cast<int64_t>(batch.tasks.size());
  }
  void OnBatchFinished(const BatchReport& report) override { finished += report.images; }

  std::atomic<int64_t> offered{0};
  std::atomic<int64_t> refused{0};
  std::atomic<int64_t> dropped{0};
  std::atomic<int64_t> saved_nanoseconds{0};
  std::atomic<int64_t> started{0};
  std::atomic<int64_t> finished{0};
};

}  // namespace spatialmamba
