#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace spatialmamba {

// One GPU, under CUDA's number for it, which is its place in the list.
struct CudaDevice {
  std::string name;          // "NVIDIA H200 (sm_90, 139 GiB)"
  std::string why_unusable;  // empty: it can be used
};

// What is there of NVIDIA GPUs, for the choice of devices, the log and clear errors.
struct CudaDevices {
  std::vector<CudaDevice> devices;
  std::string why_none;  // if there are none: no driver, no device, built without CUDA
};

// Asks the driver. Never throws; takes no memory on a device.
CudaDevices ListCudaDevices();

struct CudaMemory {
  size_t free = 0;
  size_t total = 0;
};
// Of a device that is in use; zeros if it does not answer any more. Never throws. Changes the
// calling thread's device.
CudaMemory CudaMemoryOf(int device);

// Whether what was compiled for `architectures`, as CMake writes them ("80-real,89-virtual,90": the
// machine code, the intermediate code, both), runs on a device of that compute capability.
bool RunsOn(std::string_view architectures, int major, int minor);

}  // namespace spatialmamba
