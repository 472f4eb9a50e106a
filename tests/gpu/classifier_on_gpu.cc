#include "tests/gpu/classifier_on_gpu.h"

#include <map>
#include <memory>
#include <tuple>

namespace spatialmamba::gpu {

ClassifierOnGpu::ClassifierOnGpu(const std::string& variant, int64_t classes, int64_t seed,
                                 DeviceType type)
    : weights(type),
      network(*FindVariant(variant), classes,
              Synthetic(ClassifierTensors(*FindVariant(variant), classes), seed), weights) {}

const ClassifierOnGpu& SharedClassifier(const std::string& variant, int64_t classes, int64_t seed,
                                        DeviceType type) {
  using Key = std::tuple<std::string, int64_t, int64_t, DeviceType>;
  // Never destroyed: the CUDA runtime may be gone by then.
  static auto* models = new std::map<Key, std::unique_ptr<ClassifierOnGpu>>;
  std::unique_ptr<ClassifierOnGpu>& model = (*models)[{variant, classes, seed, type}];
  if (!model) model = std::make_unique<ClassifierOnGpu>(variant, classes, seed, type);
  return *model;
}

ClassifierRuns::ClassifierRuns(const ClassifierOnGpu& model, const DeviceCapacity& capacity)
    : NetworkRuns(capacity, model.network.WorkspaceBytes(capacity)),
      network_(model.network),
      logits_memory_(DeviceArena::Bytes(capacity.images, network_.classes(), DeviceType::kFloat32)),
      logits_{logits_memory_.data(), static_cast<int>(network_.classes()),
              static_cast<int>(DeviceArena::Stride(network_.classes(), DeviceType::kFloat32)),
              DeviceType::kFloat32} {}

void ClassifierRuns::Forward() {
  network_.Forward(arena(), geometry(), images(), logits_, stream());
}

std::vector<float> ClassifierRuns::Logits(const Batch& batch, How how) {
  Load(batch);
  Poison(logits_memory_.data(), logits_memory_.bytes(), stream());
  Run(how);
  return Download(logits_, batch.images(), stream());
}

std::vector<float> Logits(const ClassifierOnGpu& model, const Batch& batch) {
  return ClassifierRuns(model, DeviceCapacity::Of(batch.spans)).Logits(batch);
}

}  // namespace spatialmamba::gpu
