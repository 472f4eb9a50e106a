#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/config_yaml.h"

namespace spatialmamba {

// One value each, from a node of the file. An error says what is expected and what to write,
// without place and key.
absl::StatusOr<std::string> TextValue(const YamlNode& node);
absl::StatusOr<bool> FlagValue(const YamlNode& node);
absl::StatusOr<int64_t> CountValue(const YamlNode& node, int64_t min, int64_t max);
absl::StatusOr<double> NumberValue(const YamlNode& node, double min, double max);
absl::StatusOr<Milliseconds> TimeValue(const YamlNode& node, Milliseconds min, Milliseconds max);
absl::StatusOr<int64_t> SizeValue(const YamlNode& node, int64_t min, int64_t max);  // bytes
absl::StatusOr<Endpoint> EndpointValue(const YamlNode& node);
absl::StatusOr<DeviceConfig> DeviceValue(const YamlNode& node);
absl::StatusOr<Variant> VariantValue(const YamlNode& node);
// The items of a list, which may be empty or, unless `count` is negative, has so many items.
absl::StatusOr<std::vector<double>> NumbersValue(const YamlNode& node, int count, double min,
                                                 double max);
absl::StatusOr<std::vector<int64_t>> CountsValue(const YamlNode& node, int count, int64_t min,
                                                 int64_t max);

// The inverse: YAML text that reads back to the same value.
std::string TextYaml(std::string_view text);
std::string NumberYaml(double value);
std::string NumberYaml(float value);  // the shortest text that gives this float
std::string NumberYaml(int64_t value);
std::string TimeYaml(Milliseconds time);
std::string SizeYaml(int64_t bytes);
std::string DeviceYaml(const DeviceConfig& device);
std::string VariantYaml(const Variant& variant);

// For messages: what the file says, shortened.
std::string Quote(const YamlNode& node);

}  // namespace spatialmamba
