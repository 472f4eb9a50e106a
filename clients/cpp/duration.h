#pragma once

#include <google/protobuf/duration.pb.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace spatialmamba {

// Reads "500ms", "5s", "1.5s", "2m"; a number alone is in seconds. Nothing if the text is something
// else, is not above zero, or is more than a day.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

// Rounded to the nearest millisecond.
std::chrono::milliseconds ToMilliseconds(const google::protobuf::Duration& duration);

double ToSeconds(const google::protobuf::Duration& duration);

std::string FormatSeconds(std::chrono::milliseconds duration);  // "0.25 s"

}  // namespace spatialmamba
