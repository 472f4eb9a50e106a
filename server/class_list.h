#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/config_yaml.h"

namespace spatialmamba {

bool IsBuiltinClassList(std::string_view name);  // "imagenet", "coco", "ade20k"

// A list that the program carries. The name must be one of the three.
absl::StatusOr<std::vector<ClassLabel>> BuiltinClassList(std::string_view name);

// Classes from a list of names or of {name, id, color} maps, mixed at will.
absl::StatusOr<std::vector<ClassLabel>> ClassListValue(const YamlNode& node);

// Classes from a file: JSON as above if it starts with "[", else one name a line. Errors name file
// and line.
absl::StatusOr<std::vector<ClassLabel>> ReadClassFile(const std::filesystem::path& path);

}  // namespace spatialmamba
