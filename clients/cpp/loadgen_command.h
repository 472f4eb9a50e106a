#pragma once

#include <atomic>

#include "clients/cpp/commands.h"

namespace spatialmamba::loadgen {

// What the program exits with; documented in its help.
enum LoadgenExit : int { kMeasured = 0, kCouldNotRun = 1, kWrongUsage = 2, kInvalid = 3 };

// The whole program: reads the arguments, measures, prints, and returns the exit status.
// `interrupted` ends the measurement early; what was measured is printed.
int RunLoadgen(int argc, const char* const* argv, const std::atomic<bool>& interrupted,
               const Output& output);

}  // namespace spatialmamba::loadgen
