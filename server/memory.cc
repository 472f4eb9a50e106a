#include "server/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace spatialmamba {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number in a file of one number; "max" and whatever cannot be read mean no limit.
int64_t ReadLimit(const std::filesystem::path& file) {
  std::ifstream in(file);
  int64_t bytes = 0;
  return in >> bytes && bytes > 0 ? bytes : kUnlimited;
}

int64_t AvailableMemory(const std::filesystem::path& root) {
  std::ifstream in(root / "proc/meminfo");
  std::string key;
  int64_t kibibytes = 0;
  for (std::string unit; in >> key >> kibibytes; std::getline(in, unit)) {
    if (key == "MemAvailable:") return kibibytes * 1024;
  }
  return kUnlimited;
}

// The limits of the process's own group and of every group around it.
int64_t GroupLimit(const std::filesystem::path& root) {
  int64_t limit = std::min(ReadLimit(root / "sys/fs/cgroup/memory.max"),
                           ReadLimit(root / "sys/fs/cgroup/memory/memory.limit_in_bytes"));
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("0::/")) continue;
    const std::filesystem::path mount = root / "sys/fs/cgroup";
    for (std::filesystem::path group = line.substr(4); !group.empty();
         group = group.parent_path()) {
      limit = std::min(limit, ReadLimit(mount / group / "memory.max"));
    }
  }
  return limit;
}

}  // namespace

int64_t UsableMemory(const std::filesystem::path& root) {
  return std::min(AvailableMemory(root), GroupLimit(root));
}

}  // namespace spatialmamba
