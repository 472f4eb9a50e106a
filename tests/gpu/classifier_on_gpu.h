#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/net/cuda_classifier.h"
#include "tests/gpu/on_gpu.h"

namespace spatialmamba::gpu {

// A network with synthetic weights on the device.
struct ClassifierOnGpu {
  ClassifierOnGpu(const std::string& variant, int64_t classes, int64_t seed, DeviceType type);

  DeviceWeights weights;
  CudaClassifier network;
};
// The same object for the same arguments, which stays until the program ends.
const ClassifierOnGpu& SharedClassifier(const std::string& variant, int64_t classes, int64_t seed,
                                        DeviceType type);

class ClassifierRuns final : public NetworkRuns {
 public:
  ClassifierRuns(const ClassifierOnGpu& model, const DeviceCapacity& capacity);

  // [images, classes].
  std::vector<float> Logits(const Batch& batch, How how = How::kLaunched);

 private:
  void Forward() override;

  const CudaClassifier& network_;
  DeviceBuffer logits_memory_;
  DeviceMap logits_;
};

// With the least capacity.
std::vector<float> Logits(const ClassifierOnGpu& model, const Batch& batch);

}  // namespace spatialmamba::gpu
