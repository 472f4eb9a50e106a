#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/net/model_spec.h"
#include "model/runtime/prediction.h"

namespace spatialmamba {

struct Checkpoint;
class ThreadPool;

// One image for a forward pass: fp32, channels last, row-major [height, width, 3], normalised. Not
// owned.
struct ImageView {
  const float* pixels = nullptr;
  int64_t height = 0;
  int64_t width = 0;
  Query query = {};  // of the network's task
};

// One loaded model on one device. Created once, then const but for its workspace: Run may be called
// by one thread at a time (the device's worker). Images of a batch may differ in size; each gets
// exactly the bits it would get alone, on any number of threads.
class Replica {
 public:
  // Binds and packs the weights. Throws CheckpointError if the checkpoint does not fit the spec.
  // `pool` outlives this.
  Replica(const ModelSpec& spec, const Checkpoint& checkpoint, ThreadPool& pool);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // The predictions by image. `wanted` is asked just before an image is begun, on any thread; an
  // image that nobody wants any more is not run.
  std::vector<std::optional<Prediction>> Run(std::span<const ImageView> images,
                                             absl::FunctionRef<bool(size_t image)> wanted);
  // All are wanted.
  std::vector<Prediction> Run(std::span<const ImageView> images);

  // Bytes of workspace that a forward of images of these sizes takes, at most.
  int64_t WorkspaceBytes(int64_t height, int64_t width) const;

  const ModelSpec& spec() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace spatialmamba
