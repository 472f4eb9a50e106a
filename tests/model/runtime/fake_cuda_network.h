#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/ops/device_batch.h"
#include "model/runtime/cuda_network.h"

namespace spatialmamba {

// What happens to a FakeCudaNetwork from outside. Outlives it.
struct FakeNetworkFaults {
  // Called before the answers of a batch are read; may throw.
  std::function<void()> on_download = [] {};
  float drift = 0;                   // added to every answer
  bool answers_by_capacity = false;  // adds the capacity's images to every answer
  int64_t downloads = 0;             // so far
};

// A classifier of three "logits": the sum of an image's pixels, its height, its width; computed by
// one kernel from the batch's geometry in device memory. Not finite sums are refused as by a real
// network.
std::unique_ptr<CudaNetwork> MakeFakeCudaNetwork(FakeNetworkFaults& faults);
inline constexpr int64_t kFakeClasses = 3;

// The same on the host.
std::vector<float> FakeLogits(std::span<const float> pixels, int64_t height, int64_t width);

}  // namespace spatialmamba
