// model/ops/cuda_api.h without CUDA. Device memory is a heap block of the exact size, poisoned
// while no kernel or copy runs, so that AddressSanitizer sees an overrun, and a host that touches
// what it must copy first.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "model/ops/cuda_api.h"
#include "tests/cuda_on_host/cuda_on_host.h"
#include "tests/cuda_on_host/host_device.h"

namespace spatialmamba {
namespace {

using cuda_on_host::captured;
using cuda_on_host::current_device;
using cuda_on_host::Device;
using cuda_on_host::Drain;
using cuda_on_host::Inside;
using cuda_on_host::Put;
using cuda_on_host::TheHost;
using cuda_on_host::ThrowCuda;

std::string Of(const char* doing, size_t bytes) {
  return std::string(doing) + " of " + std::to_string(bytes) + " bytes";
}

// As much as asked for and no more.
void* Allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes) != 0) throw std::bad_alloc();
  memset(memory, cuda_on_host::kUninitialised, bytes);
  return memory;
}

// Whoever frees cannot be told by an exception.
[[noreturn]] void StrayFree(const void* memory) {
  fprintf(stderr, "cuda_api_on_host: %p is freed, but was not allocated\n", memory);
  abort();
}

void CheckDeviceMemory(const std::string& doing, const void* memory, size_t bytes) {
  if (!Inside(cuda_on_host::DeviceAt(current_device).blocks, memory, bytes)) {
    ThrowCuda(doing, "cudaErrorInvalidValue (not memory of the current device)");
  }
}

// Such a copy would read or write it at every replay.
void RefuseInCapture(const std::string& doing, CUstream_st* stream) {
  if (stream == nullptr || !stream->capturing) return;
  stream->spoilt = true;
  ThrowCuda(doing, "cudaErrorStreamCaptureUnsupported (host memory that is not pinned)");
}

void StopCapture(CUstream_st* stream) {
  stream->capturing = false;
  if (captured == stream) captured = nullptr;
}

}  // namespace

void SetCudaDevice(int device) {
  const std::lock_guard lock(TheHost().mutex);
  if (device < 0 || static_cast<size_t>(device) >= TheHost().devices.size()) {
    ThrowCuda("choosing device " + std::to_string(device),
              "cudaErrorInvalidDevice (invalid device ordinal)");
  }
  current_device = device;
}

void* AllocateDevice(size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::string doing = Of("allocating device memory", bytes);
  const std::lock_guard lock(TheHost().mutex);
  cuda_on_host::RefuseWhileCapturing(doing);
  Device& device = cuda_on_host::WorkingDevice(doing, current_device);
  cuda_on_host::DeviceCounts& counts = device.counts;
  if (cuda_on_host::Fails(&device.until_failed_allocation) ||
      counts.live_bytes + bytes > device.limit) {
    ThrowCuda(doing, "cudaErrorMemoryAllocation (out of memory)");
  }
  void* memory = Allocate(bytes);
  device.blocks[memory] = bytes;
  cuda_on_host::Poison(memory, bytes);
  ++counts.allocations;
  ++counts.live_blocks;
  counts.live_bytes += bytes;
  counts.peak_bytes = std::max(counts.peak_bytes, counts.live_bytes);
  return memory;
}

void FreeDevice(void* memory) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard lock(TheHost().mutex);
  if (captured != nullptr) captured->spoilt = true;
  for (const auto& device : TheHost().devices) {
    const auto block = device->blocks.find(memory);
    if (block == device->blocks.end()) continue;
    DrainAll(device.get());
    --device->counts.live_blocks;
    device->counts.live_bytes -= block->second;
    cuda_on_host::Unpoison(memory, block->second);
    device->blocks.erase(block);
    free(memory);
    return;
  }
  StrayFree(memory);
}

void* AllocatePinned(size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::string doing = Of("allocating pinned memory", bytes);
  const std::lock_guard lock(TheHost().mutex);
  cuda_on_host::RefuseWhileCapturing(doing);
  cuda_on_host::WorkingDevice(doing, current_device);
  void* memory = Allocate(bytes);
  TheHost().pinned[memory] = bytes;
  return memory;
}

void FreePinned(void* memory) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard lock(TheHost().mutex);
  if (captured != nullptr) captured->spoilt = true;
  for (const auto& device : TheHost().devices) DrainAll(device.get());
  if (TheHost().pinned.erase(memory) == 0) StrayFree(memory);
  free(memory);
}

DeviceMemoryInfo QueryDeviceMemory() {
  const std::lock_guard lock(TheHost().mutex);
  const Device& device =
      cuda_on_host::WorkingDevice("asking for the device's memory", current_device);
  return {device.limit - std::min(device.limit, device.counts.live_bytes), device.limit};
}

void CopyToDevice(void* device, const void* host, size_t bytes, CUstream_st* stream) {
  if (bytes == 0) return;
  const std::string doing = Of("copying to the device", bytes);
  const std::lock_guard lock(TheHost().mutex);
  CheckDeviceMemory(doing, device, bytes);
  if (Inside(TheHost().pinned, host, bytes)) {
    Put(doing, stream, {{}, [=] { memcpy(device, host, bytes); }});
    return;
  }
  RefuseInCapture(doing, stream);
  const auto* from = static_cast<const unsigned char*>(host);
  Put(doing, stream, {{}, [device, values = std::vector<unsigned char>(from, from + bytes)] {
                        memcpy(device, values.data(), values.size());
                      }});
}

void CopyToHost(void* host, const void* device, size_t bytes, CUstream_st* stream) {
  if (bytes == 0) return;
  const std::string doing = Of("copying to the host", bytes);
  const std::lock_guard lock(TheHost().mutex);
  CheckDeviceMemory(doing, device, bytes);
  const bool pinned = Inside(TheHost().pinned, host, bytes);
  if (!pinned) RefuseInCapture(doing, stream);
  Put(doing, stream, {{}, [=] { memcpy(host, device, bytes); }});
  if (!pinned && stream != nullptr) Drain(stream);
}

void ZeroDevice(void* device, size_t bytes, CUstream_st* stream) {
  if (bytes == 0) return;
  const std::string doing = Of("clearing device memory", bytes);
  const std::lock_guard lock(TheHost().mutex);
  CheckDeviceMemory(doing, device, bytes);
  Put(doing, stream, {{}, [=] { memset(device, 0, bytes); }});
}

CUstream_st* CreateStream() {
  const std::lock_guard lock(TheHost().mutex);
  Device& device = cuda_on_host::WorkingDevice("creating a stream", current_device);
  auto* stream = new CUstream_st{current_device};
  device.streams.insert(stream);
  return stream;
}

void DestroyStream(CUstream_st* stream) noexcept {
  if (stream == nullptr) return;
  const std::lock_guard lock(TheHost().mutex);
  StopCapture(stream);
  Device& device = cuda_on_host::DeviceAt(stream->device);
  DrainAll(&device);
  if (device.streams.erase(stream) == 0) StrayFree(stream);
  delete stream;
}

void Synchronize(CUstream_st* stream) {
  const std::string doing = "waiting for a stream";
  const std::lock_guard lock(TheHost().mutex);
  if (stream != nullptr && stream->capturing) {
    stream->spoilt = true;
    ThrowCuda(doing, "cudaErrorStreamCaptureUnsupported (the stream is captured)");
  }
  Device& device =
      cuda_on_host::WorkingDevice(doing, stream == nullptr ? current_device : stream->device);
  if (stream != nullptr) Drain(stream);
  if (cuda_on_host::Fails(&device.until_failed_synchronize)) {
    device.broken = "cudaErrorIllegalAddress (an illegal memory access was encountered)";
    ThrowBroken(doing, device);
  }
}

void BeginCapture(CUstream_st* stream) {
  const std::string doing = "beginning a capture";
  const std::lock_guard lock(TheHost().mutex);
  cuda_on_host::WorkingDevice(doing, current_device);
  if (stream == nullptr || stream->capturing || captured != nullptr) {
    ThrowCuda(doing, "cudaErrorIllegalState (the default stream, or one is captured already)");
  }
  captured = stream;
  stream->capturing = true;
  stream->spoilt = false;
  stream->recorded.clear();
}

CUgraphExec_st* EndCapture(CUstream_st* stream) {
  const std::string doing = "ending a capture";
  const std::lock_guard lock(TheHost().mutex);
  cuda_on_host::WorkingDevice(doing, current_device);
  if (stream == nullptr || captured != stream) {
    ThrowCuda(doing, "cudaErrorIllegalState (this thread does not capture the stream)");
  }
  StopCapture(stream);
  if (stream->spoilt) {
    ThrowCuda(doing, "cudaErrorStreamCaptureInvalidated (a call was made that none allows)");
  }
  return new CUgraphExec_st{stream->device, std::exchange(stream->recorded, {})};
}

void AbandonCapture(CUstream_st* stream) noexcept {
  const std::lock_guard lock(TheHost().mutex);
  if (stream != nullptr) StopCapture(stream);
}

void LaunchGraph(CUgraphExec_st* graph, CUstream_st* stream) {
  const std::string doing = "launching a graph";
  const std::lock_guard lock(TheHost().mutex);
  Device& device = cuda_on_host::WorkingDevice(doing, current_device);
  if (graph->device != current_device) {
    ThrowCuda(doing, "cudaErrorInvalidValue (a graph of another device)");
  }
  ++device.counts.graph_launches;
  for (const cuda_on_host::Operation& operation : graph->operations) {
    Put(doing, stream, operation);
  }
}

void DestroyGraph(CUgraphExec_st* graph) noexcept { delete graph; }

}  // namespace spatialmamba
