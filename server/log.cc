#include "server/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <cmath>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "server/config_values.h"

namespace spatialmamba {
namespace {

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view LevelName(LogLevel level) {
  constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
  return kNames[static_cast<size_t>(level)];
}

// UTC, RFC 3339, milliseconds.
std::string TimeText(std::chrono::system_clock::time_point now) {
  const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch());
  const std::time_t seconds = since_epoch.count() / 1000;
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                         utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                         since_epoch.count() % 1000);
}

// A word that needs no quotes; anything else is written as a JSON string, which has no line breaks.
std::string TextValue(const std::string& value) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+@[],";
  const bool plain = !value.empty() && value.find_first_not_of(kPlain) == std::string::npos;
  return plain ? value : TextYaml(value);
}

struct TextFormat {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return absl::StrCat(value); }
  std::string operator()(double value) const { return absl::StrFormat("%.6g", value); }
  std::string operator()(const std::string& value) const { return TextValue(value); }
};

std::string TextLine(const std::string& time, LogLevel level, std::string_view event,
                     std::initializer_list<LogField> fields) {
  std::string line =
      absl::StrCat(time, " ", std::string(LevelName(level)), " ", TextValue(std::string(event)));
  for (const LogField& field : fields) {
    absl::StrAppend(&line, " ", TextValue(std::string(field.key)), "=",
                    std::visit(TextFormat(), field.value));
  }
  return line;
}

std::string JsonLine(const std::string& time, LogLevel level, std::string_view event,
                     std::initializer_list<LogField> fields) {
  nlohmann::ordered_json line = {{"time", time}, {"level", LevelName(level)}, {"event", event}};
  for (const LogField& field : fields) {
    std::visit([&](const auto& value) { line[std::string(field.key)] = value; }, field.value);
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::unique_ptr<Logger>& ProcessLogOwner() {
  static std::unique_ptr<Logger> log = std::make_unique<Logger>(LogConfig());
  return log;
}

}  // namespace

Logger::Logger(const LogConfig& config)
    : Logger(config, std::make_shared<spdlog::sinks::stderr_sink_mt>()) {}

Logger::Logger(const LogConfig& config, std::shared_ptr<spdlog::sinks::sink> sink)
    : format_(config.format),
      sample_(config.sample),
      sink_(std::make_unique<spdlog::logger>("server", std::move(sink))) {
  sink_->set_pattern("%v");
  sink_->set_level(SpdlogLevel(config.level));
  sink_->flush_on(spdlog::level::debug);
}

Logger::~Logger() = default;

bool Logger::Enabled(LogLevel level) const { return sink_->should_log(SpdlogLevel(level)); }

void Logger::Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!Enabled(level)) return;
  const std::string time = TimeText(std::chrono::system_clock::now());
  const auto format = format_ == LogFormat::kJson ? JsonLine : TextLine;
  sink_->log(SpdlogLevel(level), format(time, level, event, fields));
}

bool Logger::Sample() {
  const auto count = static_cast<double>(sampled_.fetch_add(1, std::memory_order_relaxed));
  return std::floor((count + 1) * sample_) > std::floor(count * sample_);
}

void ConfigureLog(const LogConfig& config) { ProcessLogOwner() = std::make_unique<Logger>(config); }

Logger& ProcessLog() { return *ProcessLogOwner(); }

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  ProcessLog().Log(level, event, fields);
}

}  // namespace spatialmamba
