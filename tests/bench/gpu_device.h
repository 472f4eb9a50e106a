#pragma once

#include <cstddef>
#include <string>

#include "absl/functional/function_ref.h"

struct CUstream_st;
struct CUgraphExec_st;

namespace spatialmamba {

// What a benchmark needs of a GPU beyond model/ops/cuda_api.h. gpu_device.cu asks CUDA, and
// gpu_device_on_host.cc lets the benchmark itself be tried where there is none.

std::string DeviceName();

// Milliseconds between two points of a stream.
class DeviceTimer {
 public:
  explicit DeviceTimer(CUstream_st* stream);
  ~DeviceTimer();
  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;

  void Start();
  double Stop();  // waits for the stream

 private:
  CUstream_st* stream_;
  void* start_ = nullptr;
  void* stop_ = nullptr;
};

// Recorded work of a stream and how many kernels and copies it is.
struct Recording {
  CUgraphExec_st* graph = nullptr;
  size_t nodes = 0;
};
Recording Record(CUstream_st* stream, absl::FunctionRef<void()> launch);

// Of copies within the device that are far larger than its caches, bytes read and bytes written.
double CopyBytesPerSecond();
// One of a chain of kernels that do nothing, in a graph.
double LaunchMicroseconds();

// Profilers that start switched off see what is launched between these.
void StartProfile();
void StopProfile();

}  // namespace spatialmamba
