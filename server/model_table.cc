#include "server/model_table.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/config_fields.h"

namespace spatialmamba {
namespace {

// What a caller sent may be long and of any bytes; messages must be short UTF-8.
std::string Quoted(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kLongest)) quoted += c >= ' ' && c <= '~' ? c : '?';
  return quoted + (text.size() > kLongest ? "...\"" : "\"");
}

// Versions are decimal numbers without leading zeros.
bool Lower(const std::string& a, const std::string& b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

std::string List(const std::vector<ServedModel>& models) {
  constexpr size_t kMost = 20;
  std::vector<std::string> entries;
  for (const ServedModel& model : models) {
    if (entries.size() == kMost) {
      entries.push_back(absl::StrCat("and ", models.size() - kMost, " more"));
      break;
    }
    entries.push_back(
        absl::StrCat(model.name, ":", model.version, " (", Name(model.spec.task), ")"));
  }
  return absl::StrJoin(entries, ", ");
}

}  // namespace

std::string Name(VisionTask task) {
  for (const auto& [name, value] : kTaskNames) {
    if (value == task) return std::string(name);
  }
  return "";
}

std::variant<int, ServiceError> ModelTable::Select(VisionTask task, std::string_view name,
                                                   std::string_view version) const {
  if (!name.empty()) {
    const std::variant<int, ServiceError> found = FindVersion(name, version);
    const int* model = std::get_if<int>(&found);
    if (model == nullptr || at(*model).spec.task == task) return found;
    return ServiceError{.reason = ErrorReason::kTaskNotSupported,
                        .message = absl::StrCat(
                            "model ", Quoted(name), " does ", Name(at(*model).spec.task), ", not ",
                            Name(task), ": use another model or method; loaded: ", List(models_)),
                        .field = "model.name"};
  }
  std::set<std::string> names;
  for (const ServedModel& model : models_) {
    if (model.spec.task == task) names.insert(model.name);
  }
  if (names.size() == 1) return FindVersion(*names.begin(), version);
  if (names.empty()) {
    return ServiceError{
        .reason = ErrorReason::kTaskNotSupported,
        .message = absl::StrCat("no loaded model does ", Name(task), "; loaded: ", List(models_))};
  }
  return ServiceError{.reason = ErrorReason::kModelAmbiguous,
                      .message = absl::StrCat("several models do ", Name(task), ": name one of ",
                                              absl::StrJoin(names, ", ")),
                      .field = "model.name"};
}

std::variant<int, ServiceError> ModelTable::Select(std::string_view name,
                                                   std::string_view version) const {
  if (!name.empty()) return FindVersion(name, version);
  std::set<std::string> names;
  for (const ServedModel& model : models_) names.insert(model.name);
  if (names.size() == 1) return FindVersion(*names.begin(), version);
  return ServiceError{.reason = ErrorReason::kModelAmbiguous,
                      .message = absl::StrCat("several models are loaded: name one of ",
                                              absl::StrJoin(names, ", ")),
                      .field = "model.name"};
}

std::variant<int, ServiceError> ModelTable::FindVersion(std::string_view name,
                                                        std::string_view version) const {
  int found = -1;
  bool named = false;
  for (size_t i = 0; i < models_.size(); ++i) {
    if (models_[i].name != name) continue;
    named = true;
    const bool fits = version.empty() ? found < 0 || Lower(at(found).version, models_[i].version)
                                      : models_[i].version == version;
    if (fits) found = static_cast<int>(i);
  }
  if (found >= 0) return found;
  const std::string what =
      named ? absl::StrCat("version ", Quoted(version), " of model ", Quoted(name))
            : absl::StrCat("model ", Quoted(name));
  return ServiceError{.reason = ErrorReason::kModelNotFound,
                      .message = absl::StrCat(what, " is not loaded; loaded: ", List(models_)),
                      .field = named ? "model.version" : "model.name"};
}

}  // namespace spatialmamba
