#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spatialmamba::loadgen {

enum class TaskKind { kClassify, kDetect, kSegment };

const char* TaskName(TaskKind task);  // "classify", ...

// One kind of caller: what it asks, how patient it is, and how often it hangs up.
struct MixEntry {
  std::string name;     // of the row in reports; by default task, model and position
  double weight = 1.0;  // its share of the requests, relative to the others
  TaskKind task = TaskKind::kClassify;
  std::string model;                // empty: the only model of the task
  std::string version;              // empty: the highest
  std::vector<std::string> images;  // files, folders, or raw:HxW
  std::chrono::nanoseconds deadline = std::chrono::seconds(1);
  int64_t images_per_request = 1;
  double cancel_share = 0.0;  // this share of the requests is cancelled by the caller ...
  std::chrono::nanoseconds cancel_after = std::chrono::milliseconds(10);  // ... so long after
};

// Reads a JSON array of objects whose keys are the members above; deadline and cancel_after are
// texts such as "300ms". A key that is left out has the value that it has in `defaults`. The error
// names the entry and the key that is wrong.
absl::StatusOr<std::vector<MixEntry>> ParseMix(std::string_view json, const MixEntry& defaults);

// The same from a file. Relative paths of images are relative to the file's folder.
absl::StatusOr<std::vector<MixEntry>> ReadMix(const std::string& file, const MixEntry& defaults);

}  // namespace spatialmamba::loadgen
