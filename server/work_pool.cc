#include "server/work_pool.h"

namespace spatialmamba {

WorkPool::WorkPool(int threads, int64_t memory_bytes) : memory_bytes_(memory_bytes) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { Work(stop); });
  }
}

WorkPool::~WorkPool() = default;

void WorkPool::Add(Job job) {
  {
    const std::lock_guard lock(mutex_);
    std::map<Key, Job>& jobs = job.bytes > 0 ? heavy_ : light_;
    jobs.emplace(Key{job.deadline, added_++}, std::move(job));
  }
  changed_.notify_one();
}

std::map<WorkPool::Key, WorkPool::Job>* WorkPool::NextLocked() {
  const auto light = light_.begin();
  const auto heavy = heavy_.begin();
  const bool fits = heavy != heavy_.end() &&
                    (memory_in_use_ == 0 || memory_in_use_ + heavy->second.bytes <= memory_bytes_);
  if (fits && (light == light_.end() || heavy->first < light->first)) return &heavy_;
  return light == light_.end() ? nullptr : &light_;
}

void WorkPool::Work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, stop, [&] { return NextLocked() != nullptr; });
    std::map<Key, Job>* jobs = NextLocked();
    if (jobs == nullptr && heavy_.empty()) return;
    if (jobs == nullptr) {
      // Stopped, and what still runs leaves no room for the rest.
      changed_.wait(lock);
      continue;
    }
    Job job = std::move(jobs->begin()->second);
    jobs->erase(jobs->begin());
    memory_in_use_ += job.bytes;
    lock.unlock();
    const int64_t bytes = job.bytes;
    try {
      job.run();
    } catch (...) {
      job.fail(std::current_exception());
    }
    job = Job();  // what it holds is released outside of the lock
    lock.lock();
    memory_in_use_ -= bytes;
    if (bytes > 0) changed_.notify_all();
  }
}

}  // namespace spatialmamba
