#include "server/trace.h"

#include <cstdint>
#include <random>

#include "absl/strings/str_format.h"

namespace spatialmamba {
namespace {

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool IsZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

std::optional<std::string> TraceIdOf(std::string_view traceparent) {
  // version "-" trace id "-" parent id "-" flags; later versions may append fields.
  constexpr size_t kLength = 55;
  if (traceparent.size() < kLength || traceparent[2] != '-' || traceparent[35] != '-' ||
      traceparent[52] != '-') {
    return std::nullopt;
  }
  const std::string_view version = traceparent.substr(0, 2);
  const std::string_view trace = traceparent.substr(3, 32);
  const std::string_view parent = traceparent.substr(36, 16);
  const bool length_fits = version == "00"
                               ? traceparent.size() == kLength
                               : traceparent.size() == kLength || traceparent[55] == '-';
  if (!length_fits || !IsHex(version) || version == "ff" || !IsHex(trace) || IsZero(trace) ||
      !IsHex(parent) || IsZero(parent) || !IsHex(traceparent.substr(53, 2))) {
    return std::nullopt;
  }
  return std::string(trace);
}

std::string NewTraceId() {
  thread_local std::mt19937_64 generator{std::random_device()()};
  const uint64_t high = generator();
  const uint64_t low = generator() | 1;  // zero is no trace id
  return absl::StrFormat("%016x%016x", high, low);
}

}  // namespace spatialmamba
