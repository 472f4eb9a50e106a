#include "server/devices.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace spatialmamba {
namespace {

Devices OnGpus(std::vector<int> gpus) {
  Devices devices{.gpus = std::move(gpus), .names = {}};
  for (const int gpu : devices.gpus) devices.names.push_back(absl::StrCat("cuda:", gpu));
  return devices;
}

absl::Status Unusable(const std::string& what, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat(
      "device: ", what, " cannot be used: ", why,
      "; write `device: cpu` to compute on the CPU, or `auto` to let the server choose"));
}

std::string Name(const CudaDevices& found, size_t gpu) {
  return absl::StrCat("cuda:", gpu, " is ", found.devices[gpu].name);
}

std::string WhyNoneUsable(const CudaDevices& found) {
  if (found.devices.empty()) return found.why_none;
  std::vector<std::string> reasons;
  for (size_t i = 0; i < found.devices.size(); ++i) {
    reasons.push_back(absl::StrCat(Name(found, i), ": ", found.devices[i].why_unusable));
  }
  return absl::StrJoin(reasons, "; ");
}

absl::Status CheckGpu(const CudaDevices& found, int gpu) {
  const std::string name = absl::StrCat("cuda:", gpu);
  if (found.devices.empty()) return Unusable(name, found.why_none);
  const auto index = static_cast<size_t>(gpu);
  if (index >= found.devices.size()) {
    std::vector<std::string> there;
    for (size_t i = 0; i < found.devices.size(); ++i) there.push_back(Name(found, i));
    return Unusable(name, absl::StrCat("there is no such GPU; ", absl::StrJoin(there, ", ")));
  }
  const std::string& why = found.devices[index].why_unusable;
  return why.empty() ? absl::OkStatus() : Unusable(Name(found, index), why);
}

}  // namespace

absl::StatusOr<Devices> ChooseDevices(const DeviceConfig& config, const CudaDevices& found) {
  if (config.kind == DeviceKind::kCpu) return Devices();
  for (const int gpu : config.cuda) {
    if (absl::Status status = CheckGpu(found, gpu); !status.ok()) return status;
  }
  if (!config.cuda.empty()) return OnGpus(config.cuda);
  std::vector<int> usable;
  for (size_t i = 0; i < found.devices.size(); ++i) {
    if (found.devices[i].why_unusable.empty()) usable.push_back(static_cast<int>(i));
  }
  if (!usable.empty()) return OnGpus(std::move(usable));
  if (config.kind == DeviceKind::kCuda) return Unusable("cuda", WhyNoneUsable(found));
  return Devices{.why_cpu = WhyNoneUsable(found)};
}

}  // namespace spatialmamba
