#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace spatialmamba {

// A fixed set of compute threads that split one loop at a time. The caller's thread works too, so a
// pool of one has no thread of its own. Which thread runs which item never changes a result.
// ParallelFor may be called by one thread at a time; concurrent callers wait for each other.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(item, worker) for every item in [0, items), each exactly once, and returns when all
  // are done. `worker` is in [0, threads()) and no two running calls have the same. An exception of
  // a body is rethrown here, after the rest has finished.
  void ParallelFor(int64_t items, absl::FunctionRef<void(int64_t item, int worker)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Cores that this process may use: the affinity mask and the cgroup's CPU quota (v1 and v2), at
// least 1.
int UsableCores();

}  // namespace spatialmamba
