#include "model/runtime/cuda_devices.h"

#include <cuda_runtime_api.h>

namespace spatialmamba {
namespace {

// 12040 is 12.4.
std::string Version(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string WhyNone(cudaError_t error) {
  int driver = 0;
  int needed = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&needed);
  if (driver == 0) return "no NVIDIA driver is installed";
  if (error == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver is too old: it is made for CUDA " + Version(driver) +
           ", and this server needs one for " + Version(needed) + " or later";
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return "the NVIDIA driver shows no GPU to this process (CUDA_VISIBLE_DEVICES can hide them)";
  }
  return cudaGetErrorString(error);
}

std::string WhyUnusable(const cudaDeviceProp& properties) {
  constexpr const char* kBuiltFor = SPATIALMAMBA_CUDA_ARCHITECTURES;
  if (RunsOn(kBuiltFor, properties.major, properties.minor)) return "";
  return "its compute capability is " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", and this server was built for " + kBuiltFor;
}

}  // namespace

CudaDevices ListCudaDevices() {
  CudaDevices found;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    found.why_none = WhyNone(error);
    return found;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    CudaDevice& device = found.devices.emplace_back();
    if (const cudaError_t problem = cudaGetDeviceProperties(&properties, i);
        problem != cudaSuccess) {
      (void)cudaGetLastError();
      device = {.name = "an unknown GPU", .why_unusable = cudaGetErrorString(problem)};
      continue;
    }
    device.name = std::string(properties.name) + " (sm_" + std::to_string(properties.major) +
                  std::to_string(properties.minor) + ", " +
                  std::to_string(properties.totalGlobalMem >> 30) + " GiB)";
    device.why_unusable = WhyUnusable(properties);
  }
  return found;
}

}  // namespace spatialmamba
