#pragma once

#include "absl/status/status.h"

namespace spatialmamba {

// Raises the soft limit of open files to the hard one: each connection takes a descriptor. An
// error, one line for the operator, if limits of this process (ulimit) are below what libraries
// take: gRPC ends a process that it cannot get descriptors or threads in. Call it before threads
// start.
absl::Status PrepareProcessLimits();

}  // namespace spatialmamba
