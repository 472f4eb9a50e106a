#include "server/model_loader.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/ops/cuda_api.h"
#include "model/runtime/cpu_replica.h"
#include "model/runtime/cuda_devices.h"
#include "model/runtime/cuda_replica.h"
#include "model/runtime/network.h"
#include "model/weights/checkpoint.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/warm_up.h"

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
ModelSpec SpecOf(const Checkpoint& checkpoint, const ModelConfig& config, const Devices& devices) {
  ModelSpec spec{.task = *config.task, .variant = *config.variant};
  const Precision chosen = devices.gpus.empty() ? Precision::kFp32 : Precision::kBf16;
  const Precision precision = config.precision == Precision::kAuto ? chosen : config.precision;
  if (precision == Precision::kBf16) spec.matrices = MatrixType::kBfloat16;
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

// How many pixels of network input so much memory is enough for.
int64_t PixelsOfMemory(const Replica& replica, int64_t bytes) {
  constexpr int64_t kSide = 512;
  const int64_t bytes_per_pixel =
      std::max<int64_t>(1, replica.WorkspaceBytes(kSide, kSide) / (kSide * kSide));
  return std::max<int64_t>(kSide * kSide, bytes / bytes_per_pixel);
}

// Deals out the memory of devices to models, one after the other.
class Loader {
 public:
  Loader(const Devices& devices, size_t models, ThreadPool& pool)
      : devices_(devices),
        models_(models),
        left_(static_cast<int64_t>(models)),
        promised_(devices.gpus.size()),
        pool_(pool) {}

  absl::StatusOr<ServedModel> Load(const std::string& entry, ModelConfig config);

 private:
  void AddReplicas(const Checkpoint& checkpoint, ServedModel& model);
  int64_t AddGpuReplica(size_t index, const Checkpoint& checkpoint, ServedModel& model);

  const Devices& devices_;
  const size_t models_;
  int64_t left_;                   // models that are not loaded yet
  std::vector<int64_t> promised_;  // by GPU: bytes that models may take when they need them
  ThreadPool& pool_;
};

void Loader::AddReplicas(const Checkpoint& checkpoint, ServedModel& model) {
  int64_t pixels = std::numeric_limits<int64_t>::max();
  if (devices_.gpus.empty()) {
    model.replicas.push_back(std::make_unique<CpuReplica>(model.spec, checkpoint, pool_));
    pixels =
        PixelsOfMemory(*model.replicas.front(), UsableMemory() / 2 / static_cast<int64_t>(models_));
  }
  for (size_t i = 0; i < devices_.gpus.size(); ++i) {
    pixels = std::min(pixels, AddGpuReplica(i, checkpoint, model));
  }
  model.max_input_pixels = model.batching.max_batch_pixels;
  if (model.max_input_pixels == 0) model.max_input_pixels = pixels;
  --left_;
}

// Four fifths of what is free are dealt out in equal shares; of each, one half is for the batches
// that are captured at start, the other for those that are not. Returns the pixels for which that
// is enough.
int64_t Loader::AddGpuReplica(size_t index, const Checkpoint& checkpoint, ServedModel& model) {
  const int gpu = devices_.gpus[index];
  const auto free = static_cast<int64_t>(CudaMemoryOf(gpu).free);
  const int64_t share = std::max<int64_t>(0, free - promised_[index]) / 5 * 4 / left_;
  const NetworkInputSize usual = UsualInput(model.preprocess);
  const CudaReplicaOptions options{.device = gpu,
                                   .height = usual.height,
                                   .width = usual.width,
                                   .max_batch_size = model.batching.max_batch_size,
                                   .max_detections = model.detect.max_detections,
                                   .graph_bytes = static_cast<size_t>(share / 2)};
  model.replicas.push_back(MakeCudaReplica(model.spec, checkpoint, options, pool_));
  promised_[index] += share / 2;
  return PixelsOfMemory(*model.replicas.back(), share / 2);
}

absl::StatusOr<ServedModel> Loader::Load(const std::string& entry, ModelConfig config) {
  const auto begun = std::chrono::steady_clock::now();
  const std::string file = config.weights.string();
  const Checkpoint checkpoint =
      ReadCheckpoint(config.weights, {.key = config.weights_key, .sha256 = config.sha256});
  absl::Status status = ApplyMetadata(checkpoint.metadata, file, config);
  if (!status.ok()) return status;
  if (status = CheckComplete(entry, config); !status.ok()) return status;
  ModelSpec spec = SpecOf(checkpoint, config, devices_);
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
  AddReplicas(checkpoint, model);
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

absl::StatusOr<std::vector<ServedModel>> LoadModels(const Config& config, const Devices& devices,
                                                    ThreadPool& pool) {
  Loader loader(devices, config.models.size(), pool);
  std::vector<ServedModel> models;
  for (size_t i = 0; i < config.models.size(); ++i) {
    const std::string entry = absl::StrCat("models.", i);
    try {
      absl::StatusOr<ServedModel> model = loader.Load(entry, config.models[i]);
      if (!model.ok()) return model.status();
      models.push_back(*std::move(model));
    } catch (const CudaError& error) {
      return absl::FailedPreconditionError(absl::StrCat(
          entry, " (", config.models[i].name, "): device: ", OneLine(error.what()),
          error.out_of_memory()
              ? "; free memory of the GPU (nvidia-smi shows who uses it), serve fewer models, "
                "lower batching.max_batch_size, or write `device: cpu`"
              : "; see whether nvidia-smi finds the GPU in order and free for another process, or "
                "write `device: cpu`"));
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
