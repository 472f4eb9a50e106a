#include <array>
#include <atomic>

#include "model/ops/kernel.h"

namespace spatialmamba {
namespace {

__global__ void Probe() {}

// Asks about what was compiled, not about the device: an sm_80 build on a newer device waits for no
// previous kernel.
bool Ask() {
  cudaFuncAttributes attributes;
  const cudaError_t error =
      cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&Probe));
  if (error != cudaSuccess) ThrowLaunchError("Probe", error);
  return attributes.ptxVersion >= 90;
}

}  // namespace

bool OverlapsLaunches() {
  enum Answer : char { kUnknown, kNo, kYes };
  constexpr int kRemembered = 64;                             // devices
  static std::array<std::atomic<char>, kRemembered> answers;  // by device
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) ThrowLaunchError("Probe", error);
  if (device >= kRemembered) return Ask();
  // Threads that ask at once get the same answer.
  std::atomic<char>& answer = answers[static_cast<size_t>(device)];
  if (answer.load(std::memory_order_relaxed) == kUnknown) {
    answer.store(Ask() ? kYes : kNo, std::memory_order_relaxed);
  }
  return answer.load(std::memory_order_relaxed) == kYes;
}

}  // namespace spatialmamba
