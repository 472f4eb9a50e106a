// The devices behind cuda_api_on_host.cc and fake_device.h. All of it is guarded by Host::mutex,
// which is held while kernels run.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_on_host/fake_device.h"

struct CUstream_st;

namespace cuda_on_host {

struct Operation {
  std::string kernel;  // its name; empty: a copy
  std::function<void()> run;
};

using Blocks = std::map<const void*, size_t>;  // address to bytes

struct Device {
  size_t limit = size_t{1} << 30;
  DeviceCounts counts;
  Blocks blocks;
  std::set<CUstream_st*> streams;
  std::string broken;  // why
  // How many more until one fails; 0: none will.
  int until_failed_allocation = 0;
  int until_failed_kernel = 0;
  int until_failed_synchronize = 0;
};

struct Host {
  std::mutex mutex;
  std::vector<std::unique_ptr<Device>> devices;
  Blocks pinned;
};

Host& TheHost();

// As in CUDA, each thread has its own.
inline thread_local int current_device = 0;
inline thread_local CUstream_st* captured = nullptr;

Device& DeviceAt(int index);
// Throws a sticky CudaError if the device is broken.
Device& WorkingDevice(const std::string& doing, int index);

// `error` begins with CUDA's name of it.
[[noreturn]] void ThrowCuda(const std::string& doing, const std::string& error);
[[noreturn]] void ThrowBroken(const std::string& doing, const Device& device);

// Counts one down; whether it is the one that fails.
inline bool Fails(int* until_failure) { return *until_failure > 0 && --*until_failure == 0; }

// Refuses what CUDA does not allow a thread that captures; its capture is lost then.
void RefuseWhileCapturing(const std::string& doing);

// Whether these bytes lie in one of the blocks.
bool Inside(const Blocks& blocks, const void* memory, size_t bytes);

// Does what the stream has to do. After an error the rest of it is gone.
void Drain(CUstream_st* stream);
// All streams of the device; an error breaks it and is told by the next call.
void DrainAll(Device* device) noexcept;

// Does, keeps or records what the calling thread puts into the stream.
void Put(const std::string& doing, CUstream_st* stream, Operation operation);

}  // namespace cuda_on_host

struct CUstream_st {
  int device;
  std::deque<cuda_on_host::Operation> pending;
  bool capturing = false;
  bool spoilt = false;  // by a call that no capture allows
  std::vector<cuda_on_host::Operation> recorded;
};

struct CUgraphExec_st {
  int device;
  std::vector<cuda_on_host::Operation> operations;
};
