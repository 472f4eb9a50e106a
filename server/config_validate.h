#pragma once

#include <vector>

#include "server/config.h"

namespace spatialmamba {

class ConfigReader;

// Rules that concern several keys, or more of a value than its range. Problems go to the reader of
// the map.
void ValidateConfig(const Config& config, ConfigReader& reader);
// `models`: those read so far, `model` the last of them.
void ValidateModel(const ModelConfig& model, const std::vector<ModelConfig>& models,
                   ConfigReader& reader);
// That preprocess and head hold only keys of the task, if the task is known.
void ValidateDescription(const ModelConfig& model, ConfigReader& reader);
// That crop fits into resize_short once the metadata is known and the defaults fill the rest.
void ValidateEffectiveInput(const ModelConfig& model, ConfigReader& reader);

}  // namespace spatialmamba
