#pragma once

#include "clients/cpp/commands.h"

namespace spatialmamba {

// The whole program: reads the arguments, calls the server, prints, and returns the exit status.
int RunCommandLine(int argc, const char* const* argv, const Output& output);

}  // namespace spatialmamba
