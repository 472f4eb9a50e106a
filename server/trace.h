#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace spatialmamba {

// The trace id of a W3C traceparent header, 32 lower-case hex digits; nothing if it is malformed.
std::optional<std::string> TraceIdOf(std::string_view traceparent);

// A random one, for requests that carry none.
std::string NewTraceId();

}  // namespace spatialmamba
