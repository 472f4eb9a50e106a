#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <iostream>

#include "clients/cpp/loadgen_command.h"

namespace {

std::atomic<bool> interrupted = false;

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });
  // A generator that waits for a core is late, and what it measures is its own queue. Where it is
  // not allowed to go first, its lateness is checked all the same.
  setpriority(PRIO_PROCESS, 0, -15);
  return spatialmamba::loadgen::RunLoadgen(argc, argv, interrupted, {std::cout, std::cerr});
}
