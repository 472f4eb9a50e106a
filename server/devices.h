#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/runtime/cuda_devices.h"
#include "server/config.h"

namespace spatialmamba {

// What computes.
struct Devices {
  std::vector<int> gpus = {};                // CUDA's numbers; empty: the CPU
  std::vector<std::string> names = {"cpu"};  // "cuda:0", ...; their place is the device index
  std::string why_cpu = {};                  // what keeps `auto` from GPUs
};

// What the configuration means on this machine: `auto` every usable GPU, else the CPU. An error is
// one line that says why a GPU that was asked for cannot be used, and what to do.
absl::StatusOr<Devices> ChooseDevices(const DeviceConfig& config, const CudaDevices& found);

}  // namespace spatialmamba
