#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "batching/clock.h"
#include "model/net/model_spec.h"
#include "model/runtime/replica.h"
#include "model/tasks/preprocess.h"
#include "server/config.h"
#include "server/status.h"

namespace spatialmamba {

std::string Name(VisionTask task);  // "classify", ...

// A loaded model and all that requests need to know of it. Const while it serves, but for the
// replicas' workspaces.
struct ServedModel {
  std::string name;
  std::string version;
  ModelSpec spec;
  std::vector<ClassLabel> classes;  // spec.classes of them
  PreprocessOptions preprocess;
  DetectQuery detect;  // what a request does not choose
  std::string sha256;  // of the weights file
  BatchingConfig batching;
  int64_t max_input_pixels = 0;  // of the network's input, of one image and of a batch
  std::vector<std::unique_ptr<Replica>> replicas;  // by device
  Duration load_time = Duration::zero();
};

// "fp32" or "bf16".
inline std::string_view PrecisionName(const ModelSpec& spec) {
  return spec.matrices == MatrixType::kBfloat16 ? "bf16" : "fp32";
}

// All models, in the order of the configuration; their place is their index everywhere. Immutable.
class ModelTable {
 public:
  explicit ModelTable(std::vector<ServedModel> models) : models_(std::move(models)) {}

  const std::vector<ServedModel>& models() const { return models_; }
  const ServedModel& at(int model) const { return models_[static_cast<size_t>(model)]; }

  // The index of the model that a request means: an empty name stands for the only one of the task,
  // an empty version for the highest.
  std::variant<int, ServiceError> Select(VisionTask task, std::string_view name,
                                         std::string_view version) const;
  // The same among the models of all tasks.
  std::variant<int, ServiceError> Select(std::string_view name, std::string_view version) const;

 private:
  std::variant<int, ServiceError> FindVersion(std::string_view name,
                                              std::string_view version) const;

  const std::vector<ServedModel> models_;
};

}  // namespace spatialmamba
