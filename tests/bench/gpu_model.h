#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/net/device_geometry.h"
#include "model/net/device_weights.h"
#include "model/net/model_spec.h"
#include "model/ops/cuda_api.h"
#include "model/ops/device_arena.h"
#include "tests/bench/gpu_device.h"

namespace spatialmamba {

// A network of any task with synthetic weights (seed 1), on the device.
class BenchedNetwork {
 public:
  virtual ~BenchedNetwork() = default;

  virtual size_t WorkspaceBytes(const DeviceCapacity& capacity) const = 0;
  // Makes room for the answers of a batch, in the arena as well.
  virtual void Prepare(DeviceArena& arena, const DeviceCapacity& capacity,
                       std::span<const Span> spans, CUstream_st* stream) = 0;
  // Launches everything between the normalised pixels in device memory and the answer: a
  // classifier's logits there, the others' answers in pinned memory.
  virtual void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
                       CUstream_st* stream) = 0;
  // That of the last forward: logits [images, classes] of a classifier, nothing of the others.
  virtual std::vector<float> Answer(int64_t images, CUstream_st* stream) const = 0;
};

std::unique_ptr<BenchedNetwork> MakeBenchedNetwork(const std::string& task,
                                                   const std::string& variant, DeviceType type);

struct BatchSize {
  int64_t images = 1;
  int64_t height = 224;
  int64_t width = 224;

  int64_t pixels() const { return height * width; }
};

// What a forward took.
struct ModelTime {
  double milliseconds = 0;          // median of graph replays, one after the other
  double best_milliseconds = 0;     // of a group of replays
  double latency_milliseconds = 0;  // median from the host's launch to its knowing of the end
  size_t launches = 0;              // kernels and copies in the graph
  size_t workspace_bytes = 0;
  int replays = 0;
};

// A network with everything that a batch of equal images needs: buffers, several sets of pictures,
// and a graph for each set.
class BenchedBatch {
 public:
  // Throws CudaError if the memory does not suffice.
  BenchedBatch(BenchedNetwork& network, const BatchSize& size);
  ~BenchedBatch();
  BenchedBatch(const BenchedBatch&) = delete;
  BenchedBatch& operator=(const BenchedBatch&) = delete;

  ModelTime Measure(double seconds);
  // The answer to the first set, launched directly, between StartProfile and StopProfile.
  std::vector<float> RunOnce();

 private:
  void Launch(size_t set);

  BenchedNetwork& network_;
  BatchSize size_;
  CudaStream stream_;
  DeviceCapacity capacity_;
  DeviceGeometry geometry_;
  DeviceArena arena_;
  std::vector<DeviceBuffer> sets_;
  std::vector<Recording> recordings_;
};

}  // namespace spatialmamba
