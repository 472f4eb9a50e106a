#include "server/config_yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"

namespace spatialmamba {
namespace {

// A few thousand classes with colours fit many times over; a small file whose aliases multiply does
// not.
constexpr size_t kMaxNodes = 500'000;
constexpr int kMaxJsonDepth = 32;

struct YamlProblem {
  std::string message;
};

size_t CountNodes(const YamlNode& node) {
  size_t count = 1;
  for (const YamlNode& item : node.items) count += CountNodes(item);
  return count;
}

// Builds the tree from yaml-cpp's events. Its own tree is not used because it merges duplicate keys
// without a word.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& file) : file_(file) {}

  YamlNode TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (seen_document_) {
      Throw(mark,
            "a second document starts here; keep one, without lines \"---\" in between, and keys "
            "at the margin");
    }
    seen_document_ = true;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(mark, NewNode(YamlNode::Kind::kNull, mark), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) Throw(mark, "an alias refers to its own surroundings; remove it");
    nodes_ += CountNodes(found->second);
    Add(mark, found->second, YAML::NullAnchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckTag(mark, tag);
    YamlNode node = NewNode(YamlNode::Kind::kScalar, mark);
    node.text = value;
    node.quoted = tag == "!";
    Add(mark, std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct OpenNode {
    YamlNode node;
    YAML::anchor_t anchor = YAML::NullAnchor;
    YAML::Mark mark;
    std::optional<std::string> key;  // of a map: read, and its value not yet
    std::string key_where;
  };

  std::string Where(const YAML::Mark& mark) const {
    return absl::StrCat(file_, ":", mark.line + 1);
  }
  [[noreturn]] void Throw(const YAML::Mark& mark, const std::string& message) const {
    throw YamlProblem{absl::StrCat(Where(mark), ": ", message)};
  }
  void CheckTag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    Throw(mark, absl::StrCat("the tag ", tag, " is not supported; write the plain value"));
  }
  YamlNode NewNode(YamlNode::Kind kind, const YAML::Mark& mark) const {
    YamlNode node;
    node.kind = kind;
    node.where = Where(mark);
    return node;
  }
  void Open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    CheckTag(mark, tag);
    OpenNode open;
    open.node = NewNode(kind, mark);
    open.anchor = anchor;
    open.mark = mark;
    stack_.push_back(std::move(open));
  }
  void Close() {
    OpenNode done = std::move(stack_.back());
    stack_.pop_back();
    Add(done.mark, std::move(done.node), done.anchor);
  }
  void Add(const YAML::Mark& mark, YamlNode node, YAML::anchor_t anchor) {
    if (++nodes_ > kMaxNodes) {
      Throw(mark, "the document is too large; it, or what its aliases repeat, must be shortened");
    }
    if (anchor != YAML::NullAnchor) anchors_[anchor] = node;
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    OpenNode& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.key) {
      SetKey(mark, node, parent);
    } else {
      node.where = parent.key_where;  // a value may start lines below its key
      parent.node.keys.push_back(*std::exchange(parent.key, std::nullopt));
      parent.node.items.push_back(std::move(node));
    }
  }
  void SetKey(const YAML::Mark& mark, const YamlNode& key, OpenNode& parent) {
    if (key.kind != YamlNode::Kind::kScalar) Throw(mark, "a key must be plain text");
    const auto& keys = parent.node.keys;
    const auto first = std::find(keys.begin(), keys.end(), key.text);
    if (first != keys.end()) {
      Throw(mark, absl::StrCat(key.text, ": the key was already given at ",
                               parent.node.items[static_cast<size_t>(first - keys.begin())].where,
                               "; remove one of them"));
    }
    parent.key = key.text;
    parent.key_where = key.where;
  }

  const std::string& file_;
  YamlNode root_;
  std::vector<OpenNode> stack_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  size_t nodes_ = 0;
  bool seen_document_ = false;
};

YamlNode FromJson(const nlohmann::ordered_json& json, const std::string& where, int depth) {
  if (depth > kMaxJsonDepth) throw YamlProblem{where + ": the JSON text is nested too deeply"};
  YamlNode node;
  node.where = where;
  if (json.is_null()) return node;
  if (json.is_object() || json.is_array()) {
    node.kind = json.is_object() ? YamlNode::Kind::kMap : YamlNode::Kind::kList;
    for (const auto& [key, value] : json.items()) {
      if (json.is_object()) node.keys.push_back(key);
      node.items.push_back(FromJson(value, where, depth + 1));
    }
    return node;
  }
  node.kind = YamlNode::Kind::kScalar;
  node.quoted = json.is_string();
  node.text = json.is_string() ? json.get<std::string>() : json.dump();
  return node;
}

void SetWhere(const std::string& where, YamlNode& node) {
  node.where = where;
  for (YamlNode& item : node.items) SetWhere(where, item);
}

// The child of `node` that a step of an override's path names, made if need be; null if there
// cannot be one.
YamlNode* Step(const std::string& step, YamlNode& node) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  const bool is_index = error == std::errc() && end == step.data() + step.size();
  if (node.kind == YamlNode::Kind::kNull) {
    node.kind = is_index ? YamlNode::Kind::kList : YamlNode::Kind::kMap;
  }
  if (node.kind == YamlNode::Kind::kList) {
    if (!is_index || index > node.items.size()) return nullptr;
    if (index == node.items.size()) node.items.emplace_back();
    return &node.items[index];
  }
  if (node.kind != YamlNode::Kind::kMap || step.empty()) return nullptr;
  const auto found = std::find(node.keys.begin(), node.keys.end(), step);
  if (found != node.keys.end()) return &node.items[static_cast<size_t>(found - node.keys.begin())];
  node.keys.push_back(step);
  return &node.items.emplace_back();
}

}  // namespace

const YamlNode* YamlNode::Find(std::string_view key) const {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? nullptr : &items[static_cast<size_t>(found - keys.begin())];
}

absl::StatusOr<YamlNode> ParseYaml(std::string_view text, const std::string& file) {
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(file);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YamlProblem& problem) {
    return absl::InvalidArgumentError(problem.message);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ":", error.mark.line + 1, ": not valid YAML: ", error.msg,
                     "; check indentation, brackets and quotes up to this line"));
  }
  return builder.TakeRoot();
}

absl::StatusOr<YamlNode> ParseJson(std::string_view text, const std::string& where) {
  try {
    return FromJson(nlohmann::ordered_json::parse(text), where, 0);
  } catch (const YamlProblem& problem) {
    return absl::InvalidArgumentError(problem.message);
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": not valid JSON: ", error.what()));
  }
}

absl::Status ApplyOverride(std::string_view assignment, YamlNode& root) {
  const std::string where = absl::StrCat("--set ", std::string(assignment));
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": write it as key=value, for example batching.max_batch_size=4"));
  }
  const std::string path(assignment.substr(0, equals));
  absl::StatusOr<YamlNode> value = ParseYaml(assignment.substr(equals + 1), where);
  if (!value.ok()) return value.status();
  if (equals + 1 == assignment.size()) {
    value->kind = YamlNode::Kind::kScalar;
    value->quoted = true;
  }
  YamlNode* node = &root;
  for (const std::string& step : std::vector<std::string>(absl::StrSplit(path, '.'))) {
    if (node->where.empty()) node->where = where;
    node = Step(step, *node);
    if (node == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": \"", step, "\" leads nowhere; separate keys by dots and count list",
          " entries from 0, for example models.0.name=x"));
    }
  }
  SetWhere(where, *value);
  *node = *std::move(value);
  return absl::OkStatus();
}

}  // namespace spatialmamba
