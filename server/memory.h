#pragma once

#include <cstdint>
#include <filesystem>

namespace spatialmamba {

// Memory that this process may use: what the machine has available now, or less where a cgroup (v2
// or v1) limits it. `root` stands for "/" in tests.
int64_t UsableMemory(const std::filesystem::path& root = "/");

}  // namespace spatialmamba
