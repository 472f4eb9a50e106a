#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/weights/checkpoint.h"
#include "model/weights/file_bytes.h"

namespace spatialmamba {

// A file of weights of any kind, opened: its directory has been read, its tensors have not. Errors
// are CheckpointErrors whose message does not name the file. Not thread-safe.
class WeightFile {
 public:
  virtual ~WeightFile() = default;

  virtual std::string kind() const = 0;

  // Names of the state dicts that hold tensors, in the file's order; "" is the top level.
  virtual std::vector<std::string> state_dicts() const = 0;

  // The tensors of one of state_dicts(). Views share the file's bytes.
  virtual std::map<std::string, Tensor> Read(const std::string& state_dict) const = 0;

  virtual std::map<std::string, std::string> metadata() const { return {}; }
};

// Tells the kind by the content.
std::unique_ptr<WeightFile> OpenWeightFile(const FileBytes& file);

std::unique_ptr<WeightFile> OpenSafetensors(const FileBytes& file);
std::unique_ptr<WeightFile> OpenTorchZip(const FileBytes& file);     // since PyTorch 1.6
std::unique_ptr<WeightFile> OpenTorchLegacy(const FileBytes& file);  // before PyTorch 1.6

// The state dict to take: `wanted`, else `model`, else `state_dict`, else the top level.
std::string ChooseStateDict(const WeightFile& file, const std::string& wanted);

// Opens, chooses and reads in one; `path` is only for messages.
Checkpoint ReadCheckpoint(const FileBytes& file, const std::filesystem::path& path,
                          const CheckpointOptions& options);

// What the readers require of every tensor before they hand it out; throws CheckpointError.
// `storage_bytes` is what the tensor's storage holds from `base` on.
void CheckTensor(const Tensor& tensor, int64_t storage_bytes);

}  // namespace spatialmamba
