#include "clients/cpp/duration.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace spatialmamba {

std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  double value = 0.0;
  const char* end = text.data() + text.size();
  const auto [unit_begin, error] = std::from_chars(text.data(), end, value);
  const std::string_view unit(unit_begin, static_cast<size_t>(end - unit_begin));
  const double scale = unit == "ms"                  ? 1.0
                       : unit.empty() || unit == "s" ? 1e3
                       : unit == "m"                 ? 6e4
                                                     : 0.0;
  const double milliseconds = std::ceil(value * scale);
  constexpr double kDay = 24 * 3600 * 1e3;
  if (error != std::errc() || !(milliseconds > 0.0 && milliseconds <= kDay)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(static_cast<int64_t>(milliseconds));
}

std::chrono::milliseconds ToMilliseconds(const google::protobuf::Duration& duration) {
  return std::chrono::milliseconds(std::llround(ToSeconds(duration) * 1e3));
}

double ToSeconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
}

std::string FormatSeconds(std::chrono::milliseconds duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", 1e-3 * static_cast<double>(duration.count()));
  return text;
}

}  // namespace spatialmamba
