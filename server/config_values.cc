#include "server/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace spatialmamba {
namespace {

using Unit = std::pair<std::string_view, int64_t>;
constexpr std::array<Unit, 4> kTimeUnits = {
    {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<Unit, 4> kSizeUnits = {
    {{"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"", 1}}};

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::Status Expected(const YamlNode& node, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("must be ", View(what), ", not ", Quote(node)));
}

// Digits only: no sign, no base prefix. Nothing if it does not fit.
std::optional<int64_t> Digits(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text[0] == '-' || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

bool HasLeadingZero(std::string_view text) {
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

std::string WithUnit(int64_t value, const std::array<Unit, 4>& units) {
  for (const auto& [unit, factor] : units) {
    if (value % factor == 0 && value != 0) return absl::StrCat(value / factor, View(unit));
  }
  return absl::StrCat(value);
}

// "<digits><unit>", in the smallest unit; nothing if it is written otherwise or does not fit.
std::optional<int64_t> ParseWithUnit(std::string_view text, const std::array<Unit, 4>& units) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::optional<int64_t> value = Digits(text.substr(0, digits));
  if (!value || HasLeadingZero(text)) return std::nullopt;
  for (const auto& [unit, factor] : units) {
    if (text.substr(digits) == unit && *value <= std::numeric_limits<int64_t>::max() / factor) {
      return *value * factor;
    }
  }
  return std::nullopt;
}

template <typename T>
std::string Shortest(T value) {
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end};
}

template <typename T, typename Parse>
absl::StatusOr<std::vector<T>> ListValue(const YamlNode& node, int count, const Parse& parse) {
  std::string wanted = "a list in square brackets";
  if (count >= 0) absl::StrAppend(&wanted, " of ", count, " numbers");
  if (node.kind != YamlNode::Kind::kList) return Expected(node, wanted);
  if (count >= 0 && node.items.size() != static_cast<size_t>(count)) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be ", wanted, ", but has ", node.items.size()));
  }
  std::vector<T> values;
  for (const YamlNode& item : node.items) {
    absl::StatusOr<T> value = parse(item);
    if (!value.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("entry ", values.size(), " ", value.status().message()));
    }
    values.push_back(*std::move(value));
  }
  return values;
}

}  // namespace

std::string Quote(const YamlNode& node) {
  constexpr size_t kLongest = 60;
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "empty; give a value or remove the key";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  return absl::StrCat(node.quoted ? "the quoted text " : "",
                      TextYaml(node.text.substr(0, kLongest)),
                      node.text.size() > kLongest ? "..." : "");
}

absl::StatusOr<std::string> TextValue(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar) return Expected(node, "text");
  return node.text;
}

absl::StatusOr<bool> FlagValue(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kScalar && !node.quoted) {
    if (node.text == "true") return true;
    if (node.text == "false") return false;
  }
  return Expected(node, "true or false (without quotes)");
}

absl::StatusOr<int64_t> CountValue(const YamlNode& node, int64_t min, int64_t max) {
  const std::string range = absl::StrCat("a whole number from ", min, " to ", max);
  if (node.kind != YamlNode::Kind::kScalar) return Expected(node, range);
  if (node.quoted) return Expected(node, absl::StrCat(range, " without quotes"));
  const std::optional<int64_t> value = Digits(node.text);
  if (value && HasLeadingZero(node.text)) {
    return Expected(node, absl::StrCat(range, " without leading zeros: write ", *value));
  }
  if (!value || *value < min || *value > max) return Expected(node, range);
  return *value;
}

absl::StatusOr<double> NumberValue(const YamlNode& node, double min, double max) {
  const std::string range = absl::StrCat("a number from ", min, " to ", max);
  if (node.kind != YamlNode::Kind::kScalar) return Expected(node, range);
  if (node.quoted) return Expected(node, absl::StrCat(range, " without quotes"));
  const std::string& text = node.text;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) ||
      HasLeadingZero(text) || value < min || value > max) {
    return Expected(node, range);
  }
  return value;
}

absl::StatusOr<Milliseconds> TimeValue(const YamlNode& node, Milliseconds min, Milliseconds max) {
  const std::string range = absl::StrCat("a time from ", TimeYaml(min), " to ", TimeYaml(max),
                                         ", a whole number with ms, s, m or h such as 30s");
  if (node.kind != YamlNode::Kind::kScalar) return Expected(node, range);
  const std::optional<int64_t> value = ParseWithUnit(node.text, kTimeUnits);
  if (!value || *value < min.count() || *value > max.count()) return Expected(node, range);
  return Milliseconds(*value);
}

absl::StatusOr<int64_t> SizeValue(const YamlNode& node, int64_t min, int64_t max) {
  const std::string range =
      absl::StrCat("a size from ", SizeYaml(min), " to ", SizeYaml(max),
                   ", a whole number of bytes or with KiB, MiB or GiB such as 32MiB");
  if (node.kind != YamlNode::Kind::kScalar) return Expected(node, range);
  const std::optional<int64_t> value = ParseWithUnit(node.text, kSizeUnits);
  if (!value || *value < min || *value > max) return Expected(node, range);
  return *value;
}

absl::StatusOr<Endpoint> EndpointValue(const YamlNode& node) {
  constexpr std::string_view kWanted =
      "HOST:PORT with a port from 0 to 65535, such as 0.0.0.0:8001 or \"[::1]:8001\"";
  if (node.kind != YamlNode::Kind::kScalar) return Expected(node, kWanted);
  const std::string& text = node.text;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return Expected(node, kWanted);
  Endpoint endpoint;
  endpoint.host = text.substr(0, colon);
  const std::optional<int64_t> port = Digits(text.substr(colon + 1));
  const bool bracketed =
      endpoint.host.size() > 2 && endpoint.host.front() == '[' && endpoint.host.back() == ']';
  if (bracketed) endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  const std::string_view forbidden = bracketed ? "[] \t/" : "[]: \t/";
  if (endpoint.host.empty() || endpoint.host.find_first_of(forbidden) != std::string::npos ||
      !port || *port > 65535) {
    return Expected(node, kWanted);
  }
  endpoint.port = static_cast<int>(*port);
  return endpoint;
}

absl::StatusOr<DeviceConfig> DeviceValue(const YamlNode& node) {
  constexpr std::string_view kWanted = "auto, cpu, cuda, or a list such as [cuda:0, cuda:1]";
  DeviceConfig device;
  if (node.kind == YamlNode::Kind::kScalar) {
    if (node.text == "auto") return device;
    device.kind = node.text == "cpu" ? DeviceKind::kCpu : DeviceKind::kCuda;
    if (node.text == "cpu" || node.text == "cuda") return device;
  }
  device.kind = DeviceKind::kCuda;
  std::vector<YamlNode> entries = node.items;
  if (node.kind == YamlNode::Kind::kScalar) entries = {node};
  if (node.kind == YamlNode::Kind::kMap || entries.empty()) return Expected(node, kWanted);
  for (const YamlNode& entry : entries) {
    constexpr std::string_view kPrefix = "cuda:";
    std::optional<int64_t> number;
    if (absl::StartsWith(entry.text, View(kPrefix))) {
      number = Digits(std::string_view(entry.text).substr(kPrefix.size()));
    }
    if (!number || *number > 1023) return Expected(entry, kWanted);
    const int gpu = static_cast<int>(*number);
    if (std::find(device.cuda.begin(), device.cuda.end(), gpu) != device.cuda.end()) {
      return absl::InvalidArgumentError(absl::StrCat("names cuda:", gpu, " twice; name it once"));
    }
    device.cuda.push_back(gpu);
  }
  return device;
}

absl::StatusOr<Variant> VariantValue(const YamlNode& node) {
  constexpr std::string_view kWanted =
      "tiny, small, base, or {dim: D, depths: [a, b, c, d]} with dim from 1 to 1024 and depths "
      "from 1 to 256";
  if (node.kind == YamlNode::Kind::kScalar) {
    const std::optional<Variant> variant = FindVariant(node.text);
    if (!variant) return Expected(node, kWanted);
    return *variant;
  }
  const YamlNode* dim = node.Find("dim");
  const YamlNode* depths = node.Find("depths");
  if (dim == nullptr || depths == nullptr || node.keys.size() != 2) return Expected(node, kWanted);
  const absl::StatusOr<int64_t> dim_value = CountValue(*dim, 1, 1024);
  const absl::StatusOr<std::vector<int64_t>> depth_values = CountsValue(*depths, 4, 1, 256);
  if (!dim_value.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("dim ", dim_value.status().message()));
  }
  if (!depth_values.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("depths ", depth_values.status().message()));
  }
  Variant variant;
  variant.dim = *dim_value;
  std::copy_n(depth_values->begin(), variant.depths.size(), variant.depths.begin());
  return variant;
}

absl::StatusOr<std::vector<double>> NumbersValue(const YamlNode& node, int count, double min,
                                                 double max) {
  return ListValue<double>(node, count,
                           [&](const YamlNode& item) { return NumberValue(item, min, max); });
}

absl::StatusOr<std::vector<int64_t>> CountsValue(const YamlNode& node, int count, int64_t min,
                                                 int64_t max) {
  return ListValue<int64_t>(node, count,
                            [&](const YamlNode& item) { return CountValue(item, min, max); });
}

std::string TextYaml(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string NumberYaml(double value) { return Shortest(value); }
std::string NumberYaml(float value) { return Shortest(value); }
std::string NumberYaml(int64_t value) { return absl::StrCat(value); }

std::string TimeYaml(Milliseconds time) {
  return time.count() == 0 ? "0s" : WithUnit(time.count(), kTimeUnits);
}

std::string SizeYaml(int64_t bytes) { return WithUnit(bytes, kSizeUnits); }

std::string DeviceYaml(const DeviceConfig& device) {
  if (device.kind == DeviceKind::kAuto) return "auto";
  if (device.kind == DeviceKind::kCpu) return "cpu";
  if (device.cuda.empty()) return "cuda";
  return absl::StrCat("[cuda:", absl::StrJoin(device.cuda, ", cuda:"), "]");
}

std::string VariantYaml(const Variant& variant) {
  const std::string_view name = VariantName(variant);
  if (name != "custom") return std::string(name);
  return absl::StrCat("{dim: ", variant.dim, ", depths: [", absl::StrJoin(variant.depths, ", "),
                      "]}");
}

}  // namespace spatialmamba
