#include "server/work_pool.h"

namespace spatialmamba {

WorkPool::WorkPool(int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { Work(stop); });
  }
}

WorkPool::~WorkPool() = default;

void WorkPool::Add(Job job) {
  {
    const std::lock_guard lock(mutex_);
    const Key key{job.deadline, added_++};
    jobs_.emplace(key, std::move(job));
  }
  changed_.notify_one();
}

void WorkPool::Work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, stop, [&] { return !jobs_.empty(); });
    if (jobs_.empty()) return;  // stopped, and nothing is left
    Job job = std::move(jobs_.begin()->second);
    jobs_.erase(jobs_.begin());
    lock.unlock();
    try {
      job.run();
    } catch (...) {
      job.fail(std::current_exception());
    }
    job = Job();  // what it holds is released outside of the lock
    lock.lock();
  }
}

}  // namespace spatialmamba
