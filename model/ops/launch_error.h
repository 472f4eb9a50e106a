#pragma once

#include <driver_types.h>

namespace spatialmamba {

// Throws a CudaError that names the kernel. Defined in cuda_api.cc, which cannot include kernel.h:
// its compiler does not know the device's side of CUDA.
[[noreturn]] void ThrowLaunchError(const char* kernel, cudaError_t error);

}  // namespace spatialmamba
