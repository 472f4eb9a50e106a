#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/runtime/cuda_network.h"
#include "model/runtime/cuda_plan.h"
#include "model/runtime/replica.h"

namespace spatialmamba {

struct Checkpoint;
class ThreadPool;

struct CudaReplicaOptions {
  int device = 0;
  // Of the model's usual input: batches of some numbers of such images are captured.
  int64_t height = 224;
  int64_t width = 224;
  int64_t max_batch_size = 32;
  int64_t max_detections = 100;  // of a detector, the most that a query may ask for
  size_t graph_bytes = 0;        // device memory that captured batches share, at most
};

// A model on a GPU. Every batch whose geometry fits a captured capacity replays that capacity's
// graph, whatever the sizes of its images; larger ones are launched kernel by kernel.
//
// A batch that the device has no memory for runs in halves. After any other failure the canary is
// asked: a fixed image whose answer is known since the start. Where it does not come out, bit for
// bit, or where CUDA's error is sticky, the device has failed, and every Run from then on throws
// DeviceFailure.
class CudaReplica final : public Replica {
 public:
  // Captures and asks the canary for the first time. Throws CudaError if the device refuses,
  // std::runtime_error if the canary's answers differ. `pool` outlives this.
  CudaReplica(const ModelSpec& spec, std::unique_ptr<const CudaNetwork> network,
              const CudaReplicaOptions& options, ThreadPool& pool);
  ~CudaReplica() override;

  using Replica::Run;
  std::vector<std::optional<Prediction>> Run(std::span<const ImageView> images,
                                             absl::FunctionRef<bool(size_t image)> wanted) override;
  int64_t WorkspaceBytes(int64_t height, int64_t width) const override;
  DeviceErrorCounts Errors() const override;

  // In usual images, rising.
  const std::vector<int64_t>& captured() const { return captured_; }

 private:
  struct Canary;
  // Images of a batch, and where their predictions belong.
  struct Batch {
    std::span<const ImageView> images;
    absl::FunctionRef<bool(size_t)> wanted;
    std::span<std::optional<Prediction>> predictions;
  };

  struct Captured {
    int64_t images = 0;
    DeviceCapacity capacity;
  };

  void Capture(const CudaReplicaOptions& options);
  bool Reserve(std::span<const Captured> list);
  std::vector<Captured> Capacities(const CudaReplicaOptions& options) const;
  std::unique_ptr<CudaPlan> CaptureOne(const DeviceCapacity& capacity);
  void RunSome(const Batch& batch, std::span<const size_t> indices);
  std::vector<Prediction> RunOnce(std::span<const ImageView> images);
  std::vector<Prediction> RunUncaptured(std::span<const ImageView> images,
                                        std::span<const Span> spans);
  CudaPlan* FindCaptured(std::span<const Span> spans) const;
  void ReleaseUncaptured();
  [[noreturn]] void ThrowOutOfMemory(const ImageView& image) const;
  // After a failure; throws DeviceFailure if it is the device's.
  void Judge(const std::exception_ptr& failure);
  // What is wrong with the answer; empty: nothing.
  std::string AskCanary();
  void Count(DeviceErrorKind kind) { ++errors_[static_cast<size_t>(kind)]; }
  CudaWorkspace Workspace(DeviceArena& arena) { return {arena, staging_, stream_.get()}; }

  const int cuda_device_;
  const std::unique_ptr<const CudaNetwork> network_;
  const CudaStream stream_;
  CudaStaging staging_;
  CudaScratch scratch_;
  DeviceArena arena_;                             // of all captured plans, which keep its addresses
  std::vector<std::unique_ptr<CudaPlan>> plans_;  // captured, by rising capacity
  std::vector<int64_t> captured_;
  DeviceArena large_arena_;               // of what does not fit in the other; grows with the work
  std::unique_ptr<CudaPlan> large_plan_;  // of the latest batch that no captured plan held
  std::unique_ptr<Canary> canary_;
  std::string failure_;  // why the device has failed; empty: it has not
  std::array<std::atomic<int64_t>, kDeviceErrorKinds> errors_ = {};
};

// Binds the weights and copies them to the device. Throws CheckpointError if the checkpoint does
// not fit the spec, std::invalid_argument if the GPU's kernels do not know the variant, and what
// CudaReplica throws.
std::unique_ptr<Replica> MakeCudaReplica(const ModelSpec& spec, const Checkpoint& checkpoint,
                                         const CudaReplicaOptions& options, ThreadPool& pool);

}  // namespace spatialmamba
