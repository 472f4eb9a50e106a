#include "server/model_loader.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/runtime/network.h"
#include "model/weights/checkpoint.h"
#include "server/log.h"
#include "server/memory.h"

namespace spatialmamba {
namespace {

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
    return Problem(entry, config,
                   "the file does not say its task: add `task: classify` (detect or "
                   "segment)");
  }
  if (!config.variant) {
    return Problem(entry, config,
                   "the file does not say its variant: add `variant: tiny` (small, base, or dim "
                   "and depths)");
  }
  return absl::OkStatus();
}

// The sizes of the network: as configured, else as the file's shapes tell them, else as published.
ModelSpec SpecOf(const Checkpoint& checkpoint, const ModelConfig& config) {
  ModelSpec spec{.task = *config.task, .variant = *config.variant};
  if (config.precision == Precision::kBf16) spec.matrices = MatrixType::kBfloat16;
  ReadHeadSizes(checkpoint, spec);
  const HeadConfig& head = config.head;
  spec.detect.fpn_channels = head.fpn_channels.value_or(spec.detect.fpn_channels);
  spec.detect.fc_channels = head.fc_channels.value_or(spec.detect.fc_channels);
  spec.detect.masks = head.masks.value_or(spec.detect.masks);
  spec.segment.channels = head.channels.value_or(spec.segment.channels);
  spec.segment.pool_scales = head.pool_scales.value_or(spec.segment.pool_scales);
  return spec;
}

DetectQuery DetectDefaults(const HeadConfig& head) {
  DetectQuery query;
  if (head.score_threshold) query.score_threshold = static_cast<float>(*head.score_threshold);
  query.nms_overlap = head.nms_iou.value_or(query.nms_overlap);
  query.max_detections = head.max_detections.value_or(query.max_detections);
  return query;
}

// `outputs`: classes of the network in the file, 0 if it has none.
absl::Status FillClasses(const std::string& entry, int64_t outputs, ModelConfig& config) {
  if (!config.classes) {
    if (outputs <= 0) {
      return Problem(entry, config,
                     absl::StrCat("has no head that does ", Name(*config.task),
                                  ", and no classes are given: is the task right?"));
    }
    std::vector<ClassLabel>& classes = config.classes.emplace();
    for (int64_t i = 0; i < outputs; ++i) classes.push_back({absl::StrCat("class_", i), i});
  }
  const auto names = static_cast<int64_t>(config.classes->size());
  if (outputs > 0 && names != outputs) {
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
  ModelSpec spec = SpecOf(checkpoint, config);
  if (status = FillClasses(entry, spec.classes, config); !status.ok()) return status;
  spec.classes = static_cast<int64_t>(config.classes->size());

  ServedModel model;
  model.name = config.name;
  model.version = config.version;
  model.spec = spec;
  model.classes = *config.classes;
  model.preprocess = ToPreprocessOptions(config);
  model.detect = DetectDefaults(config.head);
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
       {"precision", PrecisionName(model.spec)},
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
