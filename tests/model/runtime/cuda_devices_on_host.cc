// The devices that tests/cuda_on_host makes of the CPU, as a program sees them.
#include "model/ops/cuda_api.h"
#include "model/runtime/cuda_devices.h"

namespace spatialmamba {

CudaDevices ListCudaDevices() {
  CudaDevices found;
  try {
    for (int i = 0;; ++i) {
      SetCudaDevice(i);
      found.devices.push_back({.name = "a CPU that runs kernels", .why_unusable = ""});
    }
  } catch (const CudaError&) {
    // That was one too many.
  }
  SetCudaDevice(0);
  return found;
}

}  // namespace spatialmamba
