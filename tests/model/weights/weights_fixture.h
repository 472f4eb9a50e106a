#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights/checkpoint.h"
#include "model/weights/file_bytes.h"

namespace spatialmamba::fixture {

std::filesystem::path GoldenCheckpoint(const std::string& name);

FileBytes ToBytes(std::string_view content);
std::string Content(const std::filesystem::path& file);

// Reads a file that was made in memory, called "test.pth" in messages.
Checkpoint Read(std::string_view content, const CheckpointOptions& options = {});

// The message of the CheckpointError that reading throws; empty if it throws none. Where it throws
// none, every value of every tensor has been read.
std::string ErrorOf(std::string_view content, const CheckpointOptions& options = {});

// Pieces of a pickle of protocol 2 or 4.
std::string Text(std::string_view text);
std::string Integer(int64_t value);
std::string Tuple(const std::vector<std::string>& items);
std::string List(const std::vector<std::string>& items);
std::string Dict(const std::vector<std::pair<std::string, std::string>>& items);
std::string Global(std::string_view module, std::string_view name);
std::string Call(const std::string& function, const std::string& arguments);
std::string Pickled(const std::string& value);  // with protocol and STOP

struct TensorRecord {
  std::string storage_type = "FloatStorage";
  std::string key = "0";
  int64_t stored = 4;  // elements of the storage, as the pickle claims
  int64_t offset = 0;
  std::vector<int64_t> shape = {4};
  std::vector<int64_t> strides = {1};
};
std::string TensorPickle(const TensorRecord& record);

// A zip file of stored entries without checksums, as torch.save can write it.
std::string Zip(const std::map<std::string, std::string>& entries);

// A PyTorch file: the pickle of `value` and storages by key.
std::string TorchFile(const std::string& value,
                      const std::map<std::string, std::string>& storages = {});

// Four floats 0, 1, 2, 3.
std::string FourFloats();

}  // namespace spatialmamba::fixture
