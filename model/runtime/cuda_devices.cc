#include "model/runtime/cuda_devices.h"

#include <cuda_runtime_api.h>

namespace spatialmamba {

CudaDevices ListCudaDevices() {
  CudaDevices devices;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    devices.why_none = error == cudaSuccess ? "no CUDA device" : cudaGetErrorString(error);
    return devices;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    devices.names.push_back(std::string(properties.name) + " (sm_" +
                            std::to_string(properties.major) + std::to_string(properties.minor) +
                            ", " + std::to_string(properties.totalGlobalMem >> 30) + " GiB)");
  }
  return devices;
}

}  // namespace spatialmamba
