#include "server/config_validate.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "model/tasks/preprocess.h"
#include "server/config_reader.h"

namespace spatialmamba {
namespace {

constexpr std::string_view kNameCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

bool IsMadeOf(std::string_view text, std::string_view characters, size_t longest) {
  return !text.empty() && text.size() <= longest &&
         text.find_first_not_of(characters) == std::string_view::npos;
}

std::string_view TaskName(VisionTask task) {
  for (const auto& [name, value] : kTaskNames) {
    if (value == task) return name;
  }
  return "";
}

void FailCrop(int64_t crop, int64_t resize_short, ConfigReader& reader) {
  reader.Fail("preprocess", absl::StrCat("crop, ", crop, ", is larger than resize_short, ",
                                         resize_short, "; lower crop or raise resize_short"));
}

struct TaskKey {
  std::string_view group;
  std::string_view key;
  bool given;
  bool belongs;
};

}  // namespace

void ValidateConfig(const Config& config, ConfigReader& reader) {
  if (config.models.empty()) {
    reader.Fail("models", "names no model; add an entry with name and weights");
  }
  if (config.listen == config.admin && config.listen.port != 0) {
    reader.Fail("admin", "is the same address as listen; give it another port");
  }
  if (config.tls.certificate.empty() != config.tls.key.empty()) {
    reader.Fail("tls", "needs certificate and key together; give both or neither");
  }
  if (config.tls.client_auth != ClientAuth::kNone && config.tls.client_ca.empty()) {
    reader.Fail("tls", "client_auth needs client_ca; name the authority's PEM file or write none");
  }
  const std::vector<double>& buckets = config.metrics.latency_buckets;
  if (std::adjacent_find(buckets.begin(), buckets.end(), std::greater_equal<>()) != buckets.end()) {
    reader.Fail("metrics",
                "latency_buckets must rise from entry to entry; sort them and drop repetitions");
  }
  for (const auto& [tenant, weight] : config.quotas) {
    if (!IsMadeOf(tenant, kNameCharacters, 128)) {
      reader.Fail(
          "quotas",
          "a tenant's name is made of 1 to 128 letters, digits, \"-\", \"_\" and \".\"; rename it");
    }
  }
}

void ValidateModel(const ModelConfig& model, const std::vector<ModelConfig>& models,
                   ConfigReader& reader) {
  if (!IsMadeOf(model.name, kNameCharacters, 128)) {
    reader.Fail("name",
                "must be 1 to 128 letters, digits, \"-\", \"_\" and \".\", such as imagenet-tiny");
  }
  if (!IsMadeOf(model.version, "0123456789", 18) ||
      (model.version.size() > 1 && model.version[0] == '0')) {
    reader.Fail("version",
                "must be a decimal number of up to 18 digits without leading zeros, such as \"1\"");
  }
  if (model.weights.empty()) {
    reader.Fail("weights", "is missing; name a .pth, .pt or .safetensors file");
  }
  if (!model.sha256.empty() &&
      (model.sha256.size() != 64 || !IsMadeOf(model.sha256, "0123456789abcdef", 64))) {
    reader.Fail("sha256",
                "must be the 64 lower-case hex digits that sha256sum prints for the weights file");
  }
  const auto same = [&](const ModelConfig& other) {
    return other.name == model.name && other.version == model.version;
  };
  if (std::count_if(models.begin(), models.end(), same) > 1) {
    reader.Fail("name", absl::StrCat("is used twice with version ", model.version,
                                     "; rename one of them or give it another version"));
  }
  ValidateDescription(model, reader);
}

void ValidateDescription(const ModelConfig& model, ConfigReader& reader) {
  const PreprocessConfig& input = model.preprocess;
  if (input.crop && input.resize_short && *input.crop > *input.resize_short) {
    FailCrop(*input.crop, *input.resize_short, reader);
  }
  if (!model.task) return;
  const bool classify = *model.task == VisionTask::kClassify;
  const bool detect = *model.task == VisionTask::kDetect;
  const bool segment = *model.task == VisionTask::kSegment;
  const HeadConfig& head = model.head;
  const TaskKey keys[] = {
      {"preprocess", "resize_short", input.resize_short.has_value(), classify},
      {"preprocess", "crop", input.crop.has_value(), classify},
      {"preprocess", "scale", input.scale.has_value(), detect || segment},
      {"preprocess", "pad", input.pad.has_value(), detect},
      {"head", "fpn_channels", head.fpn_channels.has_value(), detect},
      {"head", "fc_channels", head.fc_channels.has_value(), detect},
      {"head", "masks", head.masks.has_value(), detect},
      {"head", "score_threshold", head.score_threshold.has_value(), detect},
      {"head", "nms_iou", head.nms_iou.has_value(), detect},
      {"head", "max_detections", head.max_detections.has_value(), detect},
      {"head", "channels", head.channels.has_value(), segment},
      {"head", "pool_scales", head.pool_scales.has_value(), segment},
  };
  for (const TaskKey& key : keys) {
    if (!key.given || key.belongs) continue;
    reader.Fail(key.group, absl::StrCat(std::string(key.key), " does not apply to the task ",
                                        std::string(TaskName(*model.task)), "; remove it"));
  }
}

void ValidateEffectiveInput(const ModelConfig& model, ConfigReader& reader) {
  if (model.task != VisionTask::kClassify) return;
  const int64_t crop = model.preprocess.crop.value_or(ClassifyInput().crop);
  const int64_t resize_short = model.preprocess.resize_short.value_or(ClassifyInput().resize_short);
  if (crop > resize_short) FailCrop(crop, resize_short, reader);
}

}  // namespace spatialmamba
