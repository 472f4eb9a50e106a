#pragma once

#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/weights/tensor.h"

namespace spatialmamba {

// What is wrong with a weight file: the message names the file, what was found, and what to do.
class CheckpointError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct CheckpointOptions {
  // Which state dict of a file that holds several ("model", "model_ema", "state_dict"). Empty:
  // `model`, else `state_dict`, else the top level, whichever holds tensors.
  std::string key;
  // Hex digest the file must have. Empty: not checked.
  std::string sha256;
};

// The tensors of one file. `metadata` is safetensors' own string map, empty for the other kinds.
struct Checkpoint {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string sha256;                   // of the whole file, lower-case hex
  std::string key;                      // the state dict that was taken; empty: the top level
  std::string file;                     // path it was read from, for messages; may be empty
  std::vector<std::string> other_keys;  // state dicts of the file that were not taken
};

// Reads .safetensors, and PyTorch files (.pth, .pt: zip and the legacy format before 1.6) without
// executing anything: the pickle is interpreted by a reader that knows tensors, storages and
// containers and steps over every other object as an inert record. Allocates no more than a small
// multiple of the file's size. The kind is told by content, not by name. Throws CheckpointError.
Checkpoint ReadCheckpoint(const std::filesystem::path& file, const CheckpointOptions& options = {});

}  // namespace spatialmamba
