#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/config_fields.h"
#include "server/config_values.h"
#include "server/config_yaml.h"

namespace spatialmamba {

// What is the same for a whole file.
struct ReadContext {
  std::filesystem::path base_dir;  // of relative paths
  bool class_files = true;         // whether `classes` may name a file
  absl::Status status;             // the first problem found
};

// Fills the fields of one map of the file. A key that is absent leaves its field as it is. The
// first problem of all goes to the context, with place, key and remedy.
class ConfigReader {
 public:
  // `path`: the dotted key of the map, empty for the whole file. A null node is an empty map.
  ConfigReader(const YamlNode& node, std::string path, ReadContext& context);

  template <typename T>
  void Count(std::string_view key, T& out, int64_t min, int64_t max) {
    Take(key, out, [&](const YamlNode& node) { return CountValue(node, min, max); });
  }
  template <typename T>
  void Number(std::string_view key, T& out, double min, double max) {
    Take(key, out, [&](const YamlNode& node) { return NumberValue(node, min, max); });
  }
  template <typename T>
  void Flag(std::string_view key, T& out) {
    Take(key, out, FlagValue);
  }
  template <typename T, typename Names>
  void Choice(std::string_view key, T& out, const Names& names) {
    const YamlNode* node = Find(key);
    if (node == nullptr) return;
    std::vector<std::string_view> known;
    for (const auto& [name, value] : names) {
      if (node->kind == YamlNode::Kind::kScalar && node->text == name) {
        out = value;
        return;
      }
      known.push_back(name);
    }
    FailChoice(key, *node, known);
  }
  template <typename T>
  void Numbers(std::string_view key, T& out, double min, double max) {
    const YamlNode* node = Find(key);
    if (node != nullptr) ReadNumbers(key, *node, min, max, out);
  }
  template <typename T>
  void Group(std::string_view key, T& fields) {
    const YamlNode* node = Find(key);
    if (node == nullptr) return;
    ConfigReader reader(*node, PathOf(key), context_);
    Fields(reader, fields);
    reader.RefuseUnknownKeys();
  }
  void Time(std::string_view key, Milliseconds& out, Milliseconds min, Milliseconds max);
  void Size(std::string_view key, int64_t& out, int64_t min, int64_t max);
  void Text(std::string_view key, std::string& out);
  void Path(std::string_view key, std::filesystem::path& out);
  void Address(std::string_view key, Endpoint& out);
  void Device(std::string_view key, DeviceConfig& out);
  void VariantField(std::string_view key, std::optional<Variant>& out);
  void Classes(std::string_view key, ModelConfig& out);
  void Weights(std::string_view key, std::map<std::string, double>& out);
  void Models(std::string_view key, Config& out);

  // Reports a key of the map that no call above asked for.
  void RefuseUnknownKeys();
  // Reports a problem with a key of this map, or with the map itself if it lacks the key.
  void Fail(std::string_view key, std::string_view problem);

 private:
  template <typename T, typename Parse>
  void Take(std::string_view key, T& out, const Parse& parse) {
    const YamlNode* node = Find(key);
    if (node == nullptr) return;
    auto value = parse(*node);
    if (value.ok()) {
      out = *std::move(value);
    } else {
      Fail(key, *node, value.status().message());
    }
  }
  template <typename T, size_t kCount>
  void ReadNumbers(std::string_view key, const YamlNode& node, double min, double max,
                   std::optional<std::array<T, kCount>>& out) {
    std::vector<T> values;
    ReadNumbers(key, node, min, max, values, static_cast<int>(kCount));
    if (values.size() == kCount) std::copy_n(values.begin(), kCount, out.emplace().begin());
  }
  template <typename T>
  void ReadNumbers(std::string_view key, const YamlNode& node, double min, double max,
                   std::optional<std::vector<T>>& out) {
    ReadNumbers(key, node, min, max, out.emplace());
  }
  template <typename T>
  void ReadNumbers(std::string_view key, const YamlNode& node, double min, double max,
                   std::vector<T>& out, int count = -1) {
    const auto values = [&] {
      if constexpr (std::is_integral_v<T>) {
        return CountsValue(node, count, static_cast<int64_t>(min), static_cast<int64_t>(max));
      } else {
        return NumbersValue(node, count, min, max);
      }
    }();
    if (!values.ok()) return Fail(key, node, values.status().message());
    out.clear();
    for (const auto value : *values) out.push_back(static_cast<T>(value));
  }

  const YamlNode* Find(std::string_view key);  // and remembers that the key is known
  std::string PathOf(std::string_view key) const;
  void Fail(std::string_view key, const YamlNode& node, absl::string_view problem);
  void FailChoice(std::string_view key, const YamlNode& node,
                  const std::vector<std::string_view>& known);

  const YamlNode& node_;
  const std::string path_;
  ReadContext& context_;
  std::vector<std::string_view> known_;
};

}  // namespace spatialmamba
