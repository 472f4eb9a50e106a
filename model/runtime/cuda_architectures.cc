#include <charconv>

#include "model/runtime/cuda_devices.h"

namespace spatialmamba {
namespace {

// One entry: "90", "90-real", "90-virtual", with a letter for code that only that very architecture
// runs ("90a").
bool EntryRunsOn(std::string_view entry, int capability) {
  int built = 0;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), built);
  if (error != std::errc()) return false;
  const std::string_view rest = entry.substr(static_cast<size_t>(end - entry.data()));
  if (!rest.empty() && rest[0] != '-') return built == capability;
  const bool machine_code = rest != "-virtual";
  const bool intermediate_code = rest != "-real";
  // Machine code runs on later minor revisions; the driver compiles intermediate code for all that
  // came later.
  if (machine_code && built / 10 == capability / 10 && built <= capability) return true;
  return intermediate_code && built <= capability;
}

}  // namespace

bool RunsOn(std::string_view architectures, int major, int minor) {
  while (!architectures.empty()) {
    const size_t comma = architectures.find(',');
    if (EntryRunsOn(architectures.substr(0, comma), 10 * major + minor)) return true;
    if (comma == std::string_view::npos) break;
    architectures.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace spatialmamba
