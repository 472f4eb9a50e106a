#pragma once

#include <vector>

#include "model/ops/aligned_buffer.h"
#include "model/ops/context.h"
#include "model/runtime/thread_pool.h"

namespace spatialmamba {

// All threads of a pool work on one op.
class PoolContext final : public Context {
 public:
  explicit PoolContext(ThreadPool& pool);
  int workers() const override { return pool_.threads(); }
  void ParallelFor(int64_t items, absl::FunctionRef<void(int64_t item, int worker)> body) override;
  float* Scratch(int worker) override { return scratch_[static_cast<size_t>(worker)].data(); }

 private:
  ThreadPool& pool_;
  std::vector<AlignedBuffer> scratch_;
};

// The calling thread alone, beside others that do the same with other images.
class SerialContext final : public Context {
 public:
  explicit SerialContext(float* scratch) : scratch_(scratch) {}
  int workers() const override { return 1; }
  void ParallelFor(int64_t items, absl::FunctionRef<void(int64_t item, int worker)> body) override;
  float* Scratch(int) override { return scratch_; }

 private:
  float* scratch_;
};

}  // namespace spatialmamba
