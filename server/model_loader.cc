#include "server/model_loader.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/weights/checkpoint.h"
#include "server/log.h"
#include "server/memory.h"

namespace spatialmamba {
namespace {

constexpr const char* kHeadBias = "head.bias";

// Messages of the model may hold a list of lines.
std::string OneLine(const std::string& text) {
  return absl::StrReplaceAll(text, {{"\n", "; "}, {"\r", ""}});
}

absl::Status Problem(const std::string& entry, const ModelConfig& config,
                     const std::string& message) {
  return absl::InvalidArgumentError(absl::StrCat(
      entry, " (", config.name, "): ", config.weights.string(), ": ", OneLine(message)));
}

absl::Status CheckComplete(const std::string& entry, const ModelConfig& config) {
  if (!config.task) {
    return Problem(entry, config, "the file does not say its task: add `task: classify`");
  }
  if (!config.variant) {
    return Problem(entry, config,
                   "the file does not say its variant: add `variant: tiny` (small, base, or dim "
                   "and depths)");
  }
  return absl::OkStatus();
}

// Outputs of the classifier in the file; 0 if it has none.
int64_t CountOutputs(const Checkpoint& checkpoint) {
  const auto bias = checkpoint.tensors.find(kHeadBias);
  if (bias == checkpoint.tensors.end() || bias->second.shape.size() != 1) return 0;
  return bias->second.shape[0];
}

absl::Status FillClasses(const std::string& entry, const Checkpoint& checkpoint,
                         ModelConfig& config) {
  const int64_t outputs = CountOutputs(checkpoint);
  if (!config.classes) {
    if (outputs == 0) {
      return Problem(entry, config,
                     "has no tensor head.bias, and no classes are given: is it a classifier?");
    }
    std::vector<ClassLabel>& classes = config.classes.emplace();
    for (int64_t i = 0; i < outputs; ++i) classes.push_back({absl::StrCat("class_", i), i});
  }
  const auto names = static_cast<int64_t>(config.classes->size());
  if (outputs != 0 && names != outputs) {
    return Problem(entry, config,
                   absl::StrCat("the network has ", outputs, " classes, but `classes` names ",
                                names, ": give the list that belongs to these weights"));
  }
  return absl::OkStatus();
}

// How many pixels of network input half of the memory is enough for.
int64_t PixelsOfMemory(const Replica& replica, size_t models) {
  constexpr int64_t kSide = 512;
  const int64_t bytes_per_pixel =
      std::max<int64_t>(1, replica.WorkspaceBytes(kSide, kSide) / (kSide * kSide));
  return std::max<int64_t>(kSide * kSide,
                           UsableMemory() / 2 / static_cast<int64_t>(models) / bytes_per_pixel);
}

absl::StatusOr<ServedModel> LoadModel(const std::string& entry, ModelConfig config, size_t models,
                                      ThreadPool& pool) {
  const auto begun = std::chrono::steady_clock::now();
  const std::string file = config.weights.string();
  const Checkpoint checkpoint =
      ReadCheckpoint(config.weights, {.key = config.weights_key, .sha256 = config.sha256});
  absl::Status status = ApplyMetadata(checkpoint.metadata, file, config);
  if (!status.ok()) return status;
  if (status = CheckComplete(entry, config); !status.ok()) return status;
  if (status = FillClasses(entry, checkpoint, config); !status.ok()) return status;

  ServedModel model;
  model.name = config.name;
  model.version = config.version;
  model.spec.task = *config.task;
  model.spec.variant = *config.variant;
  model.spec.classes = static_cast<int64_t>(config.classes->size());
  model.classes = *config.classes;
  model.preprocess = ToPreprocessOptions(config);
  model.sha256 = checkpoint.sha256;
  model.batching = config.batching;
  model.replicas.push_back(std::make_unique<Replica>(model.spec, checkpoint, pool));
  model.max_input_pixels = config.batching.max_batch_pixels;
  if (model.max_input_pixels == 0) {
    model.max_input_pixels = PixelsOfMemory(*model.replicas.front(), models);
  }
  model.load_time = std::chrono::steady_clock::now() - begun;
  Log(LogLevel::kInfo, "model_loaded",
      {{"model", model.name},
       {"version", model.version},
       {"task", Name(model.spec.task)},
       {"variant", VariantName(model.spec.variant)},
       {"classes", model.spec.classes},
       {"file", file},
       {"sha256", model.sha256},
       {"max_batch_pixels", model.max_input_pixels},
       {"duration_seconds", model.load_time}});
  return model;
}

}  // namespace

absl::StatusOr<std::vector<ServedModel>> LoadModels(const Config& config, ThreadPool& pool) {
  std::vector<ServedModel> models;
  for (size_t i = 0; i < config.models.size(); ++i) {
    const std::string entry = absl::StrCat("models.", i);
    try {
      absl::StatusOr<ServedModel> model =
          LoadModel(entry, config.models[i], config.models.size(), pool);
      if (!model.ok()) return model.status();
      models.push_back(*std::move(model));
    } catch (const std::exception& error) {
      const std::string message = OneLine(error.what());
      // Errors of the reader name the file themselves.
      const bool named = message.find(config.models[i].weights.string()) != std::string::npos;
      if (!named) return Problem(entry, config.models[i], message);
      return absl::InvalidArgumentError(
          absl::StrCat(entry, " (", config.models[i].name, "): ", message));
    }
  }
  return models;
}

PreprocessOptions ToPreprocessOptions(const ModelConfig& config) {
  const PreprocessConfig& given = config.preprocess;
  PreprocessOptions options;
  switch (config.task.value_or(VisionTask::kClassify)) {
    case VisionTask::kClassify: {
      ClassifyInput input;
      input.resize_short = given.resize_short.value_or(input.resize_short);
      input.crop = given.crop.value_or(input.crop);
      options.input = input;
      break;
    }
    case VisionTask::kDetect: {
      DetectInput input;
      input.scale = given.scale.value_or(input.scale);
      input.pad = given.pad.value_or(input.pad);
      options.input = input;
      break;
    }
    case VisionTask::kSegment: {
      SegmentInput input;
      input.scale = given.scale.value_or(input.scale);
      options.input = input;
      break;
    }
  }
  options.mean = given.mean.value_or(options.mean);
  options.std = given.std.value_or(options.std);
  if (!given.apply_orientation.value_or(true)) options.orientation = Orientation::kIgnore;
  return options;
}

}  // namespace spatialmamba
