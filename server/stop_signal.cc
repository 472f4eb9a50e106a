#include "server/stop_signal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace spatialmamba {
namespace {

// A handler may use nothing but lock-free atomics and system calls.
std::atomic<bool> g_caught = false;
int g_pipe[2] = {-1, -1};

void Wake() {
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(g_pipe[1], &byte, 1);
}

void OnSignal(int) {
  if (g_caught.exchange(true)) _exit(1);
  const int saved = errno;
  Wake();
  errno = saved;
}

}  // namespace

void CatchStopSignals() {
  if (pipe2(g_pipe, O_CLOEXEC) != 0) _exit(1);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

void RequestStop() { Wake(); }

void WaitForStopSignal() {
  char byte = 0;
  while (read(g_pipe[0], &byte, 1) < 0 && errno == EINTR) {
  }
}

}  // namespace spatialmamba
