#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "model/weights/tensor.h"

namespace spatialmamba {

// Writes a safetensors file, or none: a temporary file beside it is renamed when it is complete and
// on the disk. `dtype` is what floating tensors are converted to, none keeps each as it is;
// integers and bools stay. Tensors that share a storage become separate. Throws CheckpointError if
// the file cannot be written, or if a value would become infinite.
void WriteSafetensors(const std::filesystem::path& file,
                      const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {},
                      std::optional<DType> dtype = std::nullopt);

}  // namespace spatialmamba
