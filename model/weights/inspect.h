#pragma once

#include <filesystem>
#include <ostream>
#include <string>

namespace spatialmamba {

// Describes a weight file: kind, digest, state dicts, metadata, and the tensors of the state dict
// `key` (empty: the one that a model would take). Throws CheckpointError.
void Inspect(const std::filesystem::path& file, const std::string& key, std::ostream& out);

}  // namespace spatialmamba
