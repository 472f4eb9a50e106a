#include "model/runtime/pool_context.h"

namespace spatialmamba {

PoolContext::PoolContext(ThreadPool& pool) : pool_(pool) {
  for (int i = 0; i < pool.threads(); ++i) scratch_.emplace_back(kScratchFloats + kStagingFloats);
}

void PoolContext::ParallelFor(int64_t items,
                              absl::FunctionRef<void(int64_t item, int worker)> body) {
  pool_.ParallelFor(items, body);
}

void SerialContext::ParallelFor(int64_t items,
                                absl::FunctionRef<void(int64_t item, int worker)> body) {
  for (int64_t item = 0; item < items; ++item) body(item, 0);
}

}  // namespace spatialmamba
