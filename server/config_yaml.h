#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace spatialmamba {

// A YAML document as its author wrote it: scalars keep their text and whether they were quoted, so
// that no library's guess turns 010 into 8 or `yes` into true, and every value knows where it
// stands.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string text;               // scalar
  bool quoted = false;            // scalar
  std::string where;              // "config.yaml:12", or "--set key=value"
  std::vector<std::string> keys;  // map: without repetition, as long as `items`
  std::vector<YamlNode> items;    // list and map

  const YamlNode* Find(std::string_view key) const;  // null if not a map or not there
};

// Reads the single document of a text; an empty text is a null node. Errors name file and line: bad
// syntax, duplicate keys, several documents, keys that are not text, tags, endless repetition by
// aliases. `file` is for messages.
absl::StatusOr<YamlNode> ParseYaml(std::string_view text, const std::string& file);

// The same from JSON text, whose escapes YAML does not all know. `where` stands for every node.
absl::StatusOr<YamlNode> ParseJson(std::string_view text, const std::string& where);

// Applies "path.to.key=value": keys and list indices separated by dots; what is missing on the way
// is made.
absl::Status ApplyOverride(std::string_view assignment, YamlNode& root);

}  // namespace spatialmamba
