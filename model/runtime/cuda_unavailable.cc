#include "model/runtime/cuda_devices.h"

namespace spatialmamba {

CudaDevices ListCudaDevices() {
  return {.names = {}, .why_none = "this server was built without CUDA"};
}

}  // namespace spatialmamba
