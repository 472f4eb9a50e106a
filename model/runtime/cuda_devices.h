#pragma once

#include <string>
#include <vector>

namespace spatialmamba {

// What is there of NVIDIA GPUs, for the log and for clear errors.
struct CudaDevices {
  std::vector<std::string> names;  // "NVIDIA H200 (sm_90, 139 GiB)", by CUDA's index
  std::string why_none;            // if there are none: no driver, no device, built without CUDA
};

// Asks the driver. Never throws; takes no memory on a device.
CudaDevices ListCudaDevices();

}  // namespace spatialmamba
