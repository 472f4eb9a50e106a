#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace spatialmamba {

// A whole file in memory. It is read, not mapped: a mapped file that somebody overwrites would
// change under the tensors or end the process.
using FileBytes = std::shared_ptr<const std::vector<std::byte>>;

// Throws CheckpointError, without the file's name, if it is no regular file, cannot be read or does
// not fit into memory.
FileBytes ReadFile(const std::filesystem::path& file);

// Lower-case hex.
std::string Sha256(std::span<const std::byte> bytes);

}  // namespace spatialmamba
