#pragma once

#include "absl/status/statusor.h"
#include "model/runtime/thread_pool.h"
#include "server/config.h"
#include "server/devices.h"
#include "server/model_table.h"

namespace spatialmamba {

// Reads the weights of every model and makes its network. What an entry of the configuration leaves
// empty comes from the weights file's metadata, else from the published defaults. An error is one
// line that names the entry, the file and the remedy. One replica a device; `pool` outlives the
// result.
absl::StatusOr<std::vector<ServedModel>> LoadModels(const Config& config, const Devices& devices,
                                                    ThreadPool& pool);

// The input rule of a model whose configuration is complete.
PreprocessOptions ToPreprocessOptions(const ModelConfig& config);

}  // namespace spatialmamba
