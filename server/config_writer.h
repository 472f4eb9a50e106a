#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "server/config.h"
#include "server/config_fields.h"
#include "server/config_values.h"

namespace spatialmamba {

// Writes the fields of maps as YAML blocks. Absent optional fields are left out.
class ConfigWriter {
 public:
  template <typename T>
  void Count(std::string_view key, const T& value, int64_t, int64_t) {
    Optional(key, value, [](int64_t count) { return std::to_string(count); });
  }
  template <typename T>
  void Number(std::string_view key, const T& value, double, double) {
    Optional(key, value, [](double number) { return NumberYaml(number); });
  }
  template <typename T>
  void Flag(std::string_view key, const T& value) {
    Optional(key, value, [](bool flag) { return std::string(flag ? "true" : "false"); });
  }
  template <typename T, typename Names>
  void Choice(std::string_view key, const T& value, const Names& names) {
    for (const auto& [name, known] : names) {
      if (value == known) Line(key, name);
    }
  }
  template <typename T>
  void Numbers(std::string_view key, const T& values, double, double) {
    Optional(key, values, [](const auto& list) {
      std::string text = "[";
      for (const auto value : list) {
        if (text.size() > 1) text += ", ";
        text += NumberYaml(value);
      }
      return text + "]";
    });
  }
  template <typename T>
  void Group(std::string_view key, T& fields) {
    ConfigWriter writer;
    Fields(writer, fields);
    Block(key, writer.text_);
  }
  void Time(std::string_view key, Milliseconds value, Milliseconds, Milliseconds) {
    Line(key, TimeYaml(value));
  }
  void Size(std::string_view key, int64_t value, int64_t, int64_t) { Line(key, SizeYaml(value)); }
  void Text(std::string_view key, const std::string& value) { Line(key, TextYaml(value)); }
  void Path(std::string_view key, const std::filesystem::path& value) {
    Line(key, TextYaml(value.string()));
  }
  void Address(std::string_view key, const Endpoint& value) {
    Line(key, TextYaml(value.ToString()));
  }
  void Device(std::string_view key, const DeviceConfig& value) { Line(key, DeviceYaml(value)); }
  void VariantField(std::string_view key, const std::optional<Variant>& value) {
    Optional(key, value, VariantYaml);
  }
  void Classes(std::string_view key, const ModelConfig& model);
  void Weights(std::string_view key, const std::map<std::string, double>& weights);
  void Models(std::string_view key, Config& config);

  const std::string& text() const { return text_; }

 private:
  template <typename T, typename Format>
  void Optional(std::string_view key, const T& value, const Format& format) {
    Line(key, format(value));
  }
  template <typename T, typename Format>
  void Optional(std::string_view key, const std::optional<T>& value, const Format& format) {
    if (value) Line(key, format(*value));
  }
  void Line(std::string_view key, std::string_view value);
  void Block(std::string_view key, const std::string& lines);

  std::string text_;
};

}  // namespace spatialmamba
