#include "server/process_limits.h"

#include <sys/resource.h>

#include "absl/strings/str_cat.h"

namespace spatialmamba {
namespace {

// What ports, gRPC's and our own threads hold, weights while they are read, and some connections.
constexpr rlim_t kLeastOpenFiles = 64;
// Libraries alone map 0.5 GB; threads of gRPC's own making take 8 MB of addresses each.
constexpr rlim_t kLeastAddressSpace = rlim_t{2} << 30;

}  // namespace

absl::Status PrepareProcessLimits() {
  rlimit files = {};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < kLeastOpenFiles) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "this process may open ", files.rlim_max, " files and connections; let it have ",
          kLeastOpenFiles, " at least (ulimit -n, LimitNOFILE=)"));
    }
  }
  rlimit addresses = {};
  if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur < kLeastAddressSpace) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "this process may map ", addresses.rlim_cur >> 20, " MiB of memory; let it have ",
        kLeastAddressSpace >> 20, " MiB at least (ulimit -v), or limit it by a cgroup instead"));
  }
  return absl::OkStatus();
}

}  // namespace spatialmamba
