#pragma once

#include <string>
#include <string_view>

namespace spatialmamba {

// A name out of a file, in double quotes and fit for a message or a log: control characters, quotes
// and bytes that are not ASCII are escaped, and what is over 120 characters is cut off.
std::string Quoted(std::string_view name);

}  // namespace spatialmamba
