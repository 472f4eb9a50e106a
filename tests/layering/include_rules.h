#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace spatialmamba {

// The paths that the #include lines of a C++ source name, in order.
std::vector<std::string> IncludedPaths(std::string_view source);

// What is wrong with the includes of `source`, one sentence each; empty when the dependency rules
// hold. `file` is its path from the top of the tree ("model/ops/gemm.cc"). Files of tests may
// include everything, though by full paths only.
std::vector<std::string> IncludeViolations(std::string_view file, std::string_view source);

}  // namespace spatialmamba
