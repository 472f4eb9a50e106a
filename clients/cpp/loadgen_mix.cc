#include "clients/cpp/loadgen_mix.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "clients/cpp/duration.h"

namespace spatialmamba::loadgen {
namespace {

using Json = nlohmann::json;

constexpr std::array<const char*, 3> kTasks = {"classify", "detect", "segment"};

// Reads the keys of one entry; the first thing that is wrong is kept in status().
class EntryReader {
 public:
  EntryReader(const Json& entry, std::string path) : entry_(entry), path_(std::move(path)) {}

  const absl::Status& status() const { return status_; }

  void Text(const char* key, std::string& value) {
    if (const Json* found = Find(key, &Json::is_string, "a text")) {
      value = found->get<std::string>();
    }
  }

  void Number(const char* key, double least, double most, double& value) {
    if (const Json* found = Find(key, &Json::is_number, "a number")) {
      value = found->get<double>();
      Require(value >= least && value <= most, key, absl::StrCat("from ", least, " to ", most));
    }
  }

  void Count(const char* key, int64_t& value) {
    if (const Json* found = Find(key, &Json::is_number_integer, "a whole number")) {
      value = found->get<int64_t>();
      Require(value >= 1 && value <= 1024, key, "from 1 to 1024");
    }
  }

  void Duration(const char* key, std::chrono::nanoseconds& value) {
    if (const Json* found = Find(key, &Json::is_string, "a text such as \"300ms\"")) {
      const auto parsed = ParseDuration(found->get<std::string>());
      Require(parsed.has_value(), key, "a duration such as \"300ms\" or \"2s\"");
      value = parsed.value_or(std::chrono::milliseconds(1));
    }
  }

  void Task(const char* key, TaskKind& value) {
    std::string text = TaskName(value);
    Text(key, text);
    bool known = false;
    for (size_t i = 0; i < kTasks.size(); ++i) {
      if (text == kTasks[i]) {
        value = static_cast<TaskKind>(i);
        known = true;
      }
    }
    Require(known, key, "classify, detect or segment");
  }

  void Texts(const char* key, std::vector<std::string>& values) {
    const Json* found = Find(key, &Json::is_array, "a list of files, folders or raw:HxW");
    if (found == nullptr) {
      return;
    }
    values.clear();
    for (const Json& item : *found) {
      Require(item.is_string(), key, "a list of texts");
      values.push_back(item.is_string() ? item.get<std::string>() : "");
    }
  }

  void RefuseOthers() {
    for (const auto& [key, value] : entry_.items()) {
      bool known = false;
      for (const std::string& read : read_) {
        known = known || read == key;
      }
      if (!known && status_.ok()) {
        status_ = absl::InvalidArgumentError(absl::StrCat(
            path_, ".", key, ": there is no such key; known are ", absl::StrJoin(read_, ", ")));
      }
    }
  }

  void Require(bool holds, const char* key, std::string_view wanted) {
    if (!holds && status_.ok()) {
      const Json shown = entry_.contains(key) ? entry_[key] : Json();
      status_ = absl::InvalidArgumentError(
          absl::StrCat(path_, ".", key, ": must be ", std::string(wanted), ", not ", shown.dump()));
    }
  }

 private:
  const Json* Find(const char* key, bool (Json::*is)() const noexcept, std::string_view wanted) {
    read_.emplace_back(key);
    const auto found = entry_.find(key);
    if (found == entry_.end()) {
      return nullptr;
    }
    const bool right = ((*found).*is)();
    Require(right, key, wanted);
    return right ? &*found : nullptr;
  }

  const Json& entry_;
  std::string path_;
  std::vector<std::string> read_;
  absl::Status status_;
};

absl::StatusOr<MixEntry> ReadEntry(const Json& json, const std::string& path, MixEntry entry) {
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": must be an object"));
  }
  EntryReader reader(json, path);
  reader.Text("name", entry.name);
  reader.Number("weight", 0.0, 1e6, entry.weight);
  reader.Task("task", entry.task);
  reader.Text("model", entry.model);
  reader.Text("version", entry.version);
  reader.Texts("images", entry.images);
  reader.Duration("deadline", entry.deadline);
  reader.Count("images_per_request", entry.images_per_request);
  reader.Number("cancel_share", 0.0, 1.0, entry.cancel_share);
  reader.Duration("cancel_after", entry.cancel_after);
  reader.RefuseOthers();
  reader.Require(entry.weight > 0.0, "weight", "above zero");
  reader.Require(!entry.images.empty(), "images", "a list of at least one file, folder or raw:HxW");
  if (!reader.status().ok()) {
    return reader.status();
  }
  return entry;
}

}  // namespace

const char* TaskName(TaskKind task) { return kTasks[static_cast<size_t>(task)]; }

absl::StatusOr<std::vector<MixEntry>> ParseMix(std::string_view text, const MixEntry& defaults) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("this is not JSON: ", error.what()));
  }
  if (!json.is_array() || json.empty()) {
    return absl::InvalidArgumentError("a mixture is a JSON list of at least one object");
  }
  std::vector<MixEntry> entries;
  for (size_t i = 0; i < json.size(); ++i) {
    auto entry = ReadEntry(json[i], absl::StrCat("mix[", i, "]"), defaults);
    if (!entry.ok()) {
      return entry.status();
    }
    if (entry->name.empty()) {
      entry->name = absl::StrCat(TaskName(entry->task), entry->model.empty() ? "" : " ",
                                 entry->model, " #", i);
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

absl::StatusOr<std::vector<MixEntry>> ReadMix(const std::string& file, const MixEntry& defaults) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  if (!stream || (stream.peek() != EOF && !(content << stream.rdbuf()))) {
    return absl::NotFoundError(absl::StrCat(file, ": the mixture cannot be read"));
  }
  auto entries = ParseMix(content.str(), defaults);
  if (!entries.ok()) {
    return absl::Status(entries.status().code(),
                        absl::StrCat(file, ": ", entries.status().message()));
  }
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  for (MixEntry& entry : *entries) {
    for (std::string& image : entry.images) {
      if (!image.starts_with("raw:") && std::filesystem::path(image).is_relative()) {
        image = (folder / image).string();
      }
    }
  }
  return entries;
}

}  // namespace spatialmamba::loadgen
