#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "batching/clock.h"

namespace spatialmamba {

// The CPU work of requests beside the device's: decoding, pre- and postprocessing. A fixed number
// of threads run the job with the earliest deadline first. Thread-safe; Add never blocks.
class WorkPool {
 public:
  struct Job {
    TimePoint deadline = TimePoint::max();
    std::function<void()> run;
    // Called in place of the rest of `run` when it threw. Must not throw.
    std::function<void(const std::exception_ptr&)> fail;
  };

  explicit WorkPool(int threads);
  // Runs what is left.
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  void Add(Job job);

 private:
  using Key = std::pair<TimePoint, uint64_t>;  // deadline, then order of Add

  void Work(const std::stop_token& stop);

  std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::map<Key, Job> jobs_;
  uint64_t added_ = 0;

  std::vector<std::jthread> threads_;  // last: joined first
};

}  // namespace spatialmamba
