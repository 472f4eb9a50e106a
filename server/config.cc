#include "server/config.h"

#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/config_fields.h"
#include "server/config_reader.h"
#include "server/config_validate.h"
#include "server/config_writer.h"
#include "server/config_yaml.h"

namespace spatialmamba {
namespace {

constexpr uintmax_t kMaxFileBytes = 16 << 20;

// A value of a weights file's metadata: JSON, or a bare word.
absl::StatusOr<YamlNode> MetadataNode(const std::string& text, const std::string& where) {
  if (!text.empty() && (text[0] == '{' || text[0] == '[' || text[0] == '"'))
    return ParseJson(text, where);
  YamlNode node;
  node.kind = YamlNode::Kind::kScalar;
  node.text = text;
  node.where = where;
  return node;
}

void FillEmptyFields(const ModelConfig& from, ModelConfig& model) {
  const auto fill = [](auto& field, const auto& value) {
    if (!field) field = value;
  };
  if (!model.classes) model.classes_source = from.classes_source;
  fill(model.classes, from.classes);
  fill(model.task, from.task);
  fill(model.variant, from.variant);
  fill(model.preprocess.resize_short, from.preprocess.resize_short);
  fill(model.preprocess.crop, from.preprocess.crop);
  fill(model.preprocess.scale, from.preprocess.scale);
  fill(model.preprocess.pad, from.preprocess.pad);
  fill(model.preprocess.mean, from.preprocess.mean);
  fill(model.preprocess.std, from.preprocess.std);
  fill(model.preprocess.apply_orientation, from.preprocess.apply_orientation);
  fill(model.head.fpn_channels, from.head.fpn_channels);
  fill(model.head.fc_channels, from.head.fc_channels);
  fill(model.head.masks, from.head.masks);
  fill(model.head.score_threshold, from.head.score_threshold);
  fill(model.head.nms_iou, from.head.nms_iou);
  fill(model.head.max_detections, from.head.max_detections);
  fill(model.head.channels, from.head.channels);
  fill(model.head.pool_scales, from.head.pool_scales);
}

absl::Status Unsupported(std::string_view key, std::string_view remedy) {
  return absl::UnimplementedError(
      absl::StrCat(std::string(key), ": not supported by this version; ", std::string(remedy)));
}

}  // namespace

std::string Endpoint::ToString() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return absl::StrCat(ipv6 ? "[" : "", host, ipv6 ? "]" : "", ":", port);
}

absl::StatusOr<Config> LoadConfig(const std::filesystem::path& path,
                                  const std::vector<std::string>& overrides) {
  std::error_code error;
  const bool regular = std::filesystem::is_regular_file(path, error);
  const uintmax_t bytes = regular ? std::filesystem::file_size(path, error) : 0;
  std::ifstream file(path, std::ios::binary);
  if (!regular || error || !file) {
    return absl::NotFoundError(
        absl::StrCat(path.string(), ": cannot be read; give --config the path of a readable",
                     " YAML file such as deploy/config.yaml"));
  }
  if (bytes > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": is larger than 16 MiB; is it a configuration?"));
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return ParseConfig(text, {path.string(), path.parent_path(), overrides});
}

absl::StatusOr<Config> ParseConfig(std::string_view text, const ConfigSource& source) {
  absl::StatusOr<YamlNode> root = ParseYaml(text, source.name);
  if (!root.ok()) return root.status();
  if (root->where.empty()) root->where = source.name;
  for (const std::string& assignment : source.overrides) {
    const absl::Status status = ApplyOverride(assignment, *root);
    if (!status.ok()) return status;
  }
  ReadContext context;
  context.base_dir = std::filesystem::absolute(source.base_dir.empty() ? "." : source.base_dir);
  Config config;
  ConfigReader reader(*root, "", context);
  Fields(reader, config);
  reader.RefuseUnknownKeys();
  ValidateConfig(config, reader);
  if (!context.status.ok()) return context.status;
  return config;
}

std::string FormatConfig(const Config& config) {
  Config fields = config;
  ConfigWriter writer;
  Fields(writer, fields);
  return writer.text();
}

absl::Status CheckSupported(const Config& config) {
  const TlsConfig& tls = config.tls;
  if (!tls.certificate.empty() || !tls.client_ca.empty() || tls.client_auth != ClientAuth::kNone) {
    return Unsupported("tls", "remove the key and let a proxy end TLS");
  }
  if (!config.auth.tokens_file.empty()) return Unsupported("auth.tokens_file", "remove it");
  if (!config.quotas.empty()) return Unsupported("quotas", "remove them");
  if (config.oip.allow_client_shm) return Unsupported("oip.allow_client_shm", "write false");
  if (config.oip.allow_repository_control)
    return Unsupported("oip.allow_repository_control", "write false");
  return absl::OkStatus();
}

absl::Status ApplyMetadata(const std::map<std::string, std::string>& metadata,
                           std::string_view file, ModelConfig& model) {
  YamlNode root;
  root.kind = YamlNode::Kind::kMap;
  root.where = absl::StrCat(std::string(file), ": metadata");
  for (const char* key : {"task", "variant", "classes", "preprocess", "head"}) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) continue;
    absl::StatusOr<YamlNode> node = MetadataNode(found->second, absl::StrCat(root.where, " ", key));
    if (!node.ok()) return node.status();
    root.keys.push_back(key);
    root.items.push_back(*std::move(node));
  }
  ReadContext context;
  context.class_files = false;
  ModelConfig described;
  ConfigReader reader(root, "", context);
  DescriptionFields(reader, described);
  FillEmptyFields(described, model);
  ValidateDescription(model, reader);
  ValidateEffectiveInput(model, reader);
  return context.status;
}

}  // namespace spatialmamba
