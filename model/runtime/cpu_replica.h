#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/runtime/replica.h"

namespace spatialmamba {

struct Checkpoint;
class ThreadPool;

// A model on the CPU: the bits of an answer are the same on any number of threads.
class CpuReplica final : public Replica {
 public:
  // Binds and packs the weights. Throws CheckpointError if the checkpoint does not fit the spec.
  // `pool` outlives this.
  CpuReplica(const ModelSpec& spec, const Checkpoint& checkpoint, ThreadPool& pool);
  ~CpuReplica() override;

  using Replica::Run;
  std::vector<std::optional<Prediction>> Run(std::span<const ImageView> images,
                                             absl::FunctionRef<bool(size_t image)> wanted) override;
  int64_t WorkspaceBytes(int64_t height, int64_t width) const override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace spatialmamba
