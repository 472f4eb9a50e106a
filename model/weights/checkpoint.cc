#include "model/weights/checkpoint.h"

#include <algorithm>
#include <cctype>
#include <new>

#include "model/weights/weight_file.h"

namespace spatialmamba {
namespace {

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// A stride of 0 repeats an element without storing it again, so a tiny file could unfold into
// petabytes. A state dict that has a reason to repeat stays far below this.
void CheckUnfoldedSize(const std::map<std::string, Tensor>& tensors, size_t file_size) {
  const int64_t most = 4 * static_cast<int64_t>(file_size) + (int64_t{64} << 20);
  int64_t total = 0;
  for (const auto& [name, tensor] : tensors) {
    if (__builtin_add_overflow(total, tensor.elements() * SizeOf(tensor.dtype), &total) ||
        total > most) {
      throw CheckpointError("unfolds into over " + std::to_string(most) +
                            " bytes by tensors that repeat elements; it looks like an attack");
    }
  }
}

Checkpoint Read(const FileBytes& file, const CheckpointOptions& options) {
  Checkpoint checkpoint;
  checkpoint.sha256 = Sha256(*file);
  if (!options.sha256.empty() && Lower(options.sha256) != checkpoint.sha256) {
    throw CheckpointError("has the SHA-256 " + checkpoint.sha256 + ", not the required " +
                          Lower(options.sha256) + "; it is damaged, or another file");
  }
  const std::unique_ptr<WeightFile> weights = OpenWeightFile(file);
  checkpoint.key = ChooseStateDict(*weights, options.key);
  checkpoint.tensors = weights->Read(checkpoint.key);
  CheckUnfoldedSize(checkpoint.tensors, file->size());
  checkpoint.metadata = weights->metadata();
  for (const std::string& name : weights->state_dicts()) {
    if (name != checkpoint.key) checkpoint.other_keys.push_back(name);
  }
  return checkpoint;
}

}  // namespace

Checkpoint ReadCheckpoint(const FileBytes& file, const std::filesystem::path& path,
                          const CheckpointOptions& options) {
  try {
    Checkpoint checkpoint = Read(file, options);
    checkpoint.file = path.string();
    return checkpoint;
  } catch (const CheckpointError& error) {
    throw CheckpointError("weight file " + path.string() + " " + error.what());
  } catch (const std::bad_alloc&) {
    throw CheckpointError("weight file " + path.string() + " needs more memory than there is");
  }
}

Checkpoint ReadCheckpoint(const std::filesystem::path& file, const CheckpointOptions& options) {
  FileBytes bytes;
  try {
    bytes = ReadFile(file);
  } catch (const CheckpointError& error) {
    throw CheckpointError("weight file " + file.string() + " " + error.what());
  }
  return ReadCheckpoint(bytes, file, options);
}

}  // namespace spatialmamba
