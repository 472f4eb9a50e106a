#include "server/config_reader.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/class_list.h"
#include "server/config_validate.h"

namespace spatialmamba {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// Levenshtein's distance.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// How far a known key is from what was written; a key that was cut short or continued is near.
size_t Distance(std::string_view written, std::string_view known) {
  constexpr size_t kShortest = 3;
  const bool prefix =
      written.size() >= kShortest && (known.starts_with(written) || written.starts_with(known));
  return prefix ? 1 : EditDistance(written, known);
}

std::string Suggest(std::string_view key, const std::vector<std::string_view>& known) {
  const auto nearest = std::min_element(known.begin(), known.end(), [&](auto a, auto b) {
    return Distance(key, a) < Distance(key, b);
  });
  if (nearest != known.end() && Distance(key, *nearest) <= std::max<size_t>(2, key.size() / 3)) {
    return absl::StrCat("did you mean ", View(*nearest), "?");
  }
  const auto append = [](std::string* out, std::string_view name) { out->append(name); };
  return absl::StrCat("the keys here are ", absl::StrJoin(known, ", ", append));
}

}  // namespace

ConfigReader::ConfigReader(const YamlNode& node, std::string path, ReadContext& context)
    : node_(node), path_(std::move(path)), context_(context) {
  if (node.kind == YamlNode::Kind::kList || node.kind == YamlNode::Kind::kScalar) {
    Fail("", node, absl::StrCat("must be a map of keys and values, not ", Quote(node)));
  }
}

void ConfigReader::Time(std::string_view key, Milliseconds& out, Milliseconds min,
                        Milliseconds max) {
  Take(key, out, [&](const YamlNode& node) { return TimeValue(node, min, max); });
}

void ConfigReader::Size(std::string_view key, int64_t& out, int64_t min, int64_t max) {
  Take(key, out, [&](const YamlNode& node) { return SizeValue(node, min, max); });
}

void ConfigReader::Text(std::string_view key, std::string& out) { Take(key, out, TextValue); }

void ConfigReader::Path(std::string_view key, std::filesystem::path& out) {
  std::string text;
  Take(key, text, TextValue);
  if (Find(key) == nullptr) return;
  out = text.empty() ? std::filesystem::path() : (context_.base_dir / text).lexically_normal();
}

void ConfigReader::Address(std::string_view key, Endpoint& out) { Take(key, out, EndpointValue); }

void ConfigReader::Device(std::string_view key, DeviceConfig& out) { Take(key, out, DeviceValue); }

void ConfigReader::VariantField(std::string_view key, std::optional<Variant>& out) {
  Take(key, out, VariantValue);
}

void ConfigReader::Classes(std::string_view key, ModelConfig& out) {
  const YamlNode* node = Find(key);
  if (node == nullptr) return;
  out.classes_source.clear();
  if (node->kind != YamlNode::Kind::kScalar) {
    Take(key, out.classes, ClassListValue);
  } else if (IsBuiltinClassList(node->text)) {
    out.classes_source = node->text;
    Take(key, out.classes, [](const YamlNode& name) { return BuiltinClassList(name.text); });
  } else if (!context_.class_files) {
    Fail(key, *node, absl::StrCat("must be imagenet, coco, ade20k or a list, not ", Quote(*node)));
  } else {
    const std::filesystem::path path = (context_.base_dir / node->text).lexically_normal();
    out.classes_source = path.string();
    Take(key, out.classes, [&](const YamlNode&) { return ReadClassFile(path); });
  }
}

void ConfigReader::Weights(std::string_view key, std::map<std::string, double>& out) {
  const YamlNode* node = Find(key);
  if (node == nullptr) return;
  out.clear();
  ConfigReader reader(*node, PathOf(key), context_);
  for (const std::string& tenant : node->keys) {
    reader.Number(tenant, out[tenant], 1e-6, kMaxNumber);
  }
}

void ConfigReader::Models(std::string_view key, Config& out) {
  const YamlNode* node = Find(key);
  if (node == nullptr || node->kind == YamlNode::Kind::kNull) return;
  if (node->kind != YamlNode::Kind::kList) {
    return Fail(key, *node,
                absl::StrCat("must be a list, each entry after a \"- \", not ", Quote(*node)));
  }
  for (size_t i = 0; i < node->items.size(); ++i) {
    ModelConfig& model = out.models.emplace_back();
    model.batching = out.batching;
    ConfigReader reader(node->items[i], absl::StrCat(View(PathOf(key)), ".", i), context_);
    Fields(reader, model);
    reader.RefuseUnknownKeys();
    ValidateModel(model, out.models, reader);
  }
}

void ConfigReader::RefuseUnknownKeys() {
  for (const std::string& key : node_.keys) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    return Fail(key, absl::StrCat("is unknown; ", Suggest(key, known_)));
  }
}

void ConfigReader::Fail(std::string_view key, std::string_view problem) {
  const YamlNode* node = node_.Find(key);
  Fail(key, node == nullptr ? node_ : *node, View(problem));
}

const YamlNode* ConfigReader::Find(std::string_view key) {
  known_.push_back(key);
  return node_.Find(key);
}

std::string ConfigReader::PathOf(std::string_view key) const {
  if (path_.empty() || key.empty()) return path_ + std::string(key);
  return absl::StrCat(path_, ".", View(key));
}

void ConfigReader::Fail(std::string_view key, const YamlNode& node, absl::string_view problem) {
  if (!context_.status.ok()) return;
  const std::string path = PathOf(key);
  context_.status = absl::InvalidArgumentError(
      absl::StrCat(node.where, ": ", path, path.empty() ? "the configuration " : ": ", problem));
}

void ConfigReader::FailChoice(std::string_view key, const YamlNode& node,
                              const std::vector<std::string_view>& known) {
  const auto append = [](std::string* out, std::string_view name) { out->append(name); };
  Fail(key, node,
       absl::StrCat("must be one of ", absl::StrJoin(known, ", ", append), ", not ", Quote(node)));
}

}  // namespace spatialmamba
