#include "model/ops/cuda_api.h"
#include "model/runtime/cuda_devices.h"

namespace spatialmamba {

CudaMemory CudaMemoryOf(int device) {
  try {
    SetCudaDevice(device);
    const DeviceMemoryInfo memory = QueryDeviceMemory();
    return {memory.free, memory.total};
  } catch (const CudaError&) {
    return {};
  }
}

}  // namespace spatialmamba
