#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>

#include "model/ops/cuda_api.h"
#include "model/ops/kernel.h"
#include "tests/bench/gpu_device.h"

namespace spatialmamba {
namespace {

void Check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

__global__ void DoNothing() { WaitForPreviousKernel(); }

}  // namespace

std::string DeviceName() {
  int device = 0;
  cudaDeviceProp properties;
  int driver = 0;
  Check(cudaGetDevice(&device));
  Check(cudaGetDeviceProperties(&properties, device));
  Check(cudaDriverGetVersion(&driver));
  return std::string(properties.name) + ", sm_" + std::to_string(properties.major) +
         std::to_string(properties.minor) + ", " + std::to_string(properties.multiProcessorCount) +
         " multiprocessors, " + std::to_string(properties.l2CacheSize >> 20) +
         " MiB L2, driver for CUDA " + std::to_string(driver / 1000) + "." +
         std::to_string(driver % 1000 / 10);
}

DeviceTimer::DeviceTimer(CUstream_st* stream) : stream_(stream) {
  Check(cudaEventCreate(reinterpret_cast<cudaEvent_t*>(&start_)));
  Check(cudaEventCreate(reinterpret_cast<cudaEvent_t*>(&stop_)));
}

DeviceTimer::~DeviceTimer() {
  cudaEventDestroy(static_cast<cudaEvent_t>(start_));
  cudaEventDestroy(static_cast<cudaEvent_t>(stop_));
}

void DeviceTimer::Start() { Check(cudaEventRecord(static_cast<cudaEvent_t>(start_), stream_)); }

double DeviceTimer::Stop() {
  Check(cudaEventRecord(static_cast<cudaEvent_t>(stop_), stream_));
  Check(cudaEventSynchronize(static_cast<cudaEvent_t>(stop_)));
  float milliseconds = 0;
  Check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start_),
                             static_cast<cudaEvent_t>(stop_)));
  return milliseconds;
}

Recording Record(CUstream_st* stream, absl::FunctionRef<void()> launch) {
  Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  launch();
  cudaGraph_t graph = nullptr;
  Check(cudaStreamEndCapture(stream, &graph));
  Recording recording;
  Check(cudaGraphGetNodes(graph, nullptr, &recording.nodes));
  Check(cudaGraphInstantiate(&recording.graph, graph, 0));
  Check(cudaGraphDestroy(graph));
  return recording;
}

double CopyBytesPerSecond() {
  const size_t bytes = std::min(size_t{2} << 30, QueryDeviceMemory().free / 4);
  const DeviceBuffer from(bytes);
  const DeviceBuffer to(bytes);
  const CudaStream stream;
  ZeroDevice(from.data(), bytes, stream.get());
  DeviceTimer timer(stream.get());
  std::vector<double> seconds;
  for (int i = 0; i < 12; ++i) {
    timer.Start();
    Check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream.get()));
    const double milliseconds = timer.Stop();
    if (i >= 2) seconds.push_back(milliseconds / 1000);
  }
  return 2 * static_cast<double>(bytes) / Median(seconds);
}

double LaunchMicroseconds() {
  constexpr int kKernels = 200;
  const CudaStream stream;
  LaunchConfig config;
  config.grid = dim3(132);
  config.block = dim3(256);
  config.stream = stream.get();
  const auto launch_all = [&] {
    for (int i = 0; i < kKernels; ++i) Launch("DoNothing", &DoNothing, config);
  };
  launch_all();
  Synchronize(stream.get());
  const Recording recording = Record(stream.get(), launch_all);
  DeviceTimer timer(stream.get());
  std::vector<double> microseconds;
  for (int i = 0; i < 30; ++i) {
    timer.Start();
    LaunchGraph(recording.graph, stream.get());
    microseconds.push_back(timer.Stop() * 1000 / kKernels);
  }
  DestroyGraph(recording.graph);
  return Median(microseconds);
}

void StartProfile() { Check(cudaProfilerStart()); }
void StopProfile() { Check(cudaProfilerStop()); }

}  // namespace spatialmamba
