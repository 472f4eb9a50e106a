#include "tests/cuda_on_host/host_device.h"

#include <exception>
#include <stdexcept>
#include <utility>

#include "model/ops/cuda_api.h"
#include "tests/cuda_on_host/cuda_on_host.h"

namespace cuda_on_host {
namespace {

// While one of these lives, device memory can be touched.
class Opened {
 public:
  explicit Opened(const Device& device) : device_(device) {
    for (const auto& [block, bytes] : device_.blocks) Unpoison(const_cast<void*>(block), bytes);
  }
  ~Opened() {
    for (const auto& [block, bytes] : device_.blocks) Poison(const_cast<void*>(block), bytes);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  const Device& device_;
};

void Run(Device* device, const Operation& operation) {
  if (operation.kernel.empty()) {
    ++device->counts.copies;
    operation.run();
    return;
  }
  ++device->counts.launches;
  if (Fails(&device->until_failed_kernel)) {
    device->broken = "cudaErrorIllegalAddress (an illegal memory access was encountered)";
    ThrowBroken("kernel " + operation.kernel, *device);
  }
  try {
    operation.run();
  } catch (const Fault& fault) {
    throw Fault("kernel " + operation.kernel + ": " + fault.what());
  }
}

// Called by kernel.h.
void Submit(cudaStream_t stream, const char* name, std::function<void()> run) {
  const std::lock_guard lock(TheHost().mutex);
  Put(std::string("launching kernel ") + name, stream, {name, std::move(run)});
}

[[maybe_unused]] const bool kSubmits = (submit = &Submit, true);

}  // namespace

Host& TheHost() {
  static Host* const host = [] {
    auto* made = new Host;
    made->devices.push_back(std::make_unique<Device>());
    return made;
  }();
  return *host;
}

Device& DeviceAt(int index) { return *TheHost().devices.at(static_cast<size_t>(index)); }

Device& WorkingDevice(const std::string& doing, int index) {
  Device& device = DeviceAt(index);
  if (!device.broken.empty()) ThrowBroken(doing, device);
  return device;
}

void ThrowCuda(const std::string& doing, const std::string& error) {
  throw spatialmamba::CudaError("CUDA: " + doing + ": " + error, /*sticky=*/false,
                                error.rfind("cudaErrorMemoryAllocation", 0) == 0);
}

void ThrowBroken(const std::string& doing, const Device& device) {
  throw spatialmamba::CudaError("CUDA: " + doing + ": " + device.broken, /*sticky=*/true,
                                /*out_of_memory=*/false);
}

void RefuseWhileCapturing(const std::string& doing) {
  if (captured == nullptr) return;
  captured->spoilt = true;
  ThrowCuda(doing, "cudaErrorStreamCaptureUnsupported (the thread captures a stream)");
}

bool Inside(const Blocks& blocks, const void* memory, size_t bytes) {
  auto block = blocks.upper_bound(memory);
  if (block == blocks.begin()) return false;
  --block;
  const auto offset = static_cast<size_t>(static_cast<const char*>(memory) -
                                          static_cast<const char*>(block->first));
  return offset <= block->second && bytes <= block->second - offset;
}

void Drain(CUstream_st* stream) {
  Device& device = DeviceAt(stream->device);
  const std::deque<Operation> operations = std::exchange(stream->pending, {});
  if (operations.empty() || !device.broken.empty()) return;
  const Opened opened(device);
  try {
    for (const Operation& operation : operations) Run(&device, operation);
  } catch (const Fault& fault) {
    device.broken = fault.what();
    throw;
  }
}

void DrainAll(Device* device) noexcept {
  for (CUstream_st* stream : device->streams) {
    try {
      Drain(stream);
    } catch (const std::exception&) {
      continue;  // the device remembers it
    }
  }
}

void Put(const std::string& doing, CUstream_st* stream, Operation operation) {
  if (stream == nullptr) {
    RefuseWhileCapturing(doing + " in the default stream");
    Device& device = WorkingDevice(doing, current_device);
    const Opened opened(device);
    Run(&device, operation);
    return;
  }
  WorkingDevice(doing, stream->device);
  if (stream->device != current_device) {
    ThrowCuda(doing, "cudaErrorInvalidResourceHandle (a stream of another device)");
  }
  if (stream->capturing) {
    stream->recorded.push_back(std::move(operation));
  } else {
    stream->pending.push_back(std::move(operation));
  }
}

void ResetDevices(int count) {
  Host& host = TheHost();
  const std::lock_guard lock(host.mutex);
  for (const auto& device : host.devices) {
    if (!device->blocks.empty() || !device->streams.empty()) {
      throw std::logic_error("ResetDevices: memory or streams of a device are still in use");
    }
  }
  host.devices.clear();
  for (int i = 0; i < count; ++i) host.devices.push_back(std::make_unique<Device>());
}

DeviceCounts CountsOf(int device) {
  const std::lock_guard lock(TheHost().mutex);
  return DeviceAt(device).counts;
}

void LimitMemory(size_t bytes, int device) {
  const std::lock_guard lock(TheHost().mutex);
  DeviceAt(device).limit = bytes;
}

void FailAllocation(int nth, int device) {
  const std::lock_guard lock(TheHost().mutex);
  DeviceAt(device).until_failed_allocation = nth;
}

void FailKernel(int nth, int device) {
  const std::lock_guard lock(TheHost().mutex);
  DeviceAt(device).until_failed_kernel = nth;
}

void FailSynchronize(int nth, int device) {
  const std::lock_guard lock(TheHost().mutex);
  DeviceAt(device).until_failed_synchronize = nth;
}

}  // namespace cuda_on_host
