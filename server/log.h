#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "server/config.h"

namespace spdlog {
class logger;
namespace sinks {
class sink;
}
}  // namespace spdlog

namespace spatialmamba {

// One key=value of a line. Never pass picture data or secrets.
struct LogField {
  using Value = std::variant<bool, int64_t, double, std::string>;

  template <typename T>
  LogField(std::string_view field_key, const T& field_value)
      : key(field_key), value(ToValue(field_value)) {}

  std::string_view key;
  Value value;

 private:
  // Durations become seconds: name their key *_seconds.
  template <typename Rep, typename Period>
  static Value ToValue(std::chrono::duration<Rep, Period> duration) {
    return std::chrono::duration<double>(duration).count();
  }
  template <typename T>
  static Value ToValue(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return value;
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<int64_t>(value);
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<double>(value);
    } else {
      return std::string(value);
    }
  }
};

// Writes one line an event, with fields; text ("2026-01-31T12:00:00.123Z info event key=value") or
// JSON. Whatever a value holds, a line stays one line. Thread-safe.
class Logger {
 public:
  // To standard error.
  explicit Logger(const LogConfig& config);
  Logger(const LogConfig& config, std::shared_ptr<spdlog::sinks::sink> sink);
  ~Logger();

  bool Enabled(LogLevel level) const;
  void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
  // True for the configured share of calls, evenly spread: whether this successful request gets a
  // line.
  bool Sample();

 private:
  const LogFormat format_;
  const double sample_;
  std::atomic<uint64_t> sampled_{0};
  std::unique_ptr<spdlog::logger> sink_;
};

// The process's log, the one global of the server: every layer may have something to say, whatever
// it was handed. Until it is configured, it writes text at level info. Configure it before threads
// start.
void ConfigureLog(const LogConfig& config);
Logger& ProcessLog();
// ProcessLog().Log.
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

}  // namespace spatialmamba
