#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace spatialmamba {

// Tells other programs the ports that were taken for port 0: {"grpc": 8001, "admin": 8002}. Whoever
// finds the file finds it complete.
absl::Status WritePortsFile(const std::filesystem::path& file, int grpc, int admin);

}  // namespace spatialmamba
