#include "server/class_list.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "server/builtin_class_lists.h"
#include "server/config_values.h"

namespace spatialmamba {
namespace {

constexpr size_t kMaxClasses = 65'536;
constexpr size_t kMaxFileBytes = 16 << 20;

// Names travel in protobuf strings, which must be UTF-8.
bool IsUtf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

absl::Status CheckName(const std::string& name, const std::string& where) {
  if (name.empty()) return absl::InvalidArgumentError(where + " has no name; give it one");
  if (!IsUtf8(name)) return absl::InvalidArgumentError(where + " is not UTF-8; save it as UTF-8");
  return absl::OkStatus();
}

absl::Status ReadClassMap(const YamlNode& node, ClassLabel& label) {
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const std::string& key = node.keys[i];
    const YamlNode& value = node.items[i];
    absl::Status status;
    if (key == "name") {
      absl::StatusOr<std::string> name = TextValue(value);
      status = name.status();
      if (name.ok()) label.name = *std::move(name);
    } else if (key == "id") {
      const absl::StatusOr<int64_t> id = CountValue(value, 0, std::numeric_limits<int32_t>::max());
      status = id.status();
      if (id.ok()) label.id = *id;
    } else if (key == "color") {
      if (value.kind == YamlNode::Kind::kNull) continue;
      const absl::StatusOr<std::vector<int64_t>> color = CountsValue(value, 3, 0, 255);
      status = color.status();
      if (color.ok()) {
        auto& parts = label.color.emplace();
        for (size_t part = 0; part < parts.size(); ++part) {
          parts[part] = static_cast<uint8_t>((*color)[part]);
        }
      }
    } else {
      status = absl::InvalidArgumentError("is unknown; use name, id and color");
    }
    if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat(key, " ", status.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ClassLabel>> ParseNames(const std::string& text,
                                                   const std::string& file) {
  std::vector<ClassLabel> labels;
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (std::string& line : lines) absl::StripAsciiWhitespace(&line);
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (std::string& line : lines) {
    const absl::Status status =
        CheckName(line, absl::StrCat(file, ":", labels.size() + 1, ": the class"));
    if (!status.ok()) return status;
    ClassLabel label;
    label.id = static_cast<int64_t>(labels.size());
    label.name = std::move(line);
    labels.push_back(std::move(label));
  }
  if (labels.empty()) {
    return absl::InvalidArgumentError(file + ": names no class; write one name a line");
  }
  return labels;
}

absl::StatusOr<std::vector<ClassLabel>> ParseJsonClasses(std::string_view text,
                                                         const std::string& file) {
  const absl::StatusOr<YamlNode> node = ParseJson(text, file);
  if (!node.ok()) return node.status();
  absl::StatusOr<std::vector<ClassLabel>> labels = ClassListValue(*node);
  if (labels.ok()) return labels;
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", labels.status().message()));
}

}  // namespace

bool IsBuiltinClassList(std::string_view name) {
  const auto lists = BuiltinClassListTexts();
  return std::any_of(lists.begin(), lists.end(),
                     [&](const auto& list) { return list.name == name; });
}

absl::StatusOr<std::vector<ClassLabel>> BuiltinClassList(std::string_view name) {
  for (const BuiltinClassListText& list : BuiltinClassListTexts()) {
    if (list.name == name) return ParseJsonClasses(list.json, std::string(name));
  }
  return absl::NotFoundError(absl::StrCat("no built-in class list is called ", std::string(name)));
}

absl::StatusOr<std::vector<ClassLabel>> ClassListValue(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kList || node.items.empty() || node.items.size() > kMaxClasses) {
    return absl::InvalidArgumentError(absl::StrCat(
        "must be a list of 1 to ", kMaxClasses, " names or {name, id, color} maps, not ",
        node.kind == YamlNode::Kind::kList ? absl::StrCat("a list of ", node.items.size())
                                           : Quote(node)));
  }
  std::vector<ClassLabel> labels;
  for (const YamlNode& item : node.items) {
    const std::string where = absl::StrCat("class ", labels.size());
    ClassLabel label;
    label.id = static_cast<int64_t>(labels.size());
    absl::Status status;
    if (item.kind == YamlNode::Kind::kScalar) {
      label.name = item.text;
    } else if (item.kind == YamlNode::Kind::kMap) {
      status = ReadClassMap(item, label);
    } else {
      status = absl::InvalidArgumentError(absl::StrCat("must be a name, not ", Quote(item)));
    }
    if (!status.ok())
      return absl::InvalidArgumentError(absl::StrCat(where, ": ", status.message()));
    if (status = CheckName(label.name, where); !status.ok()) return status;
    labels.push_back(std::move(label));
  }
  return labels;
}

absl::StatusOr<std::vector<ClassLabel>> ReadClassFile(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) {
    return absl::NotFoundError(
        absl::StrCat("names the class file ", path.string(),
                     ", which cannot be read; give imagenet, coco, ade20k, a list, or",
                     " the path of a file, relative to the configuration"));
  }
  if (bytes > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("names ", path.string(), ", which is too large for a class file"));
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string::npos && text[start] == '[')
    return ParseJsonClasses(text, path.string());
  return ParseNames(text, path.string());
}

}  // namespace spatialmamba
