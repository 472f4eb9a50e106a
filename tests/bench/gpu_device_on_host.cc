#include <chrono>

#include "model/ops/cuda_api.h"
#include "tests/bench/gpu_device.h"

namespace spatialmamba {
namespace {

double Now() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::string DeviceName() { return "no GPU: kernels on the CPU, whose times mean nothing"; }

DeviceTimer::DeviceTimer(CUstream_st* stream) : stream_(stream), start_(new double) {}
DeviceTimer::~DeviceTimer() { delete static_cast<double*>(start_); }
void DeviceTimer::Start() { *static_cast<double*>(start_) = Now(); }
double DeviceTimer::Stop() {
  Synchronize(stream_);
  return Now() - *static_cast<double*>(start_);
}

Recording Record(CUstream_st* stream, absl::FunctionRef<void()> launch) {
  BeginCapture(stream);
  launch();
  return {EndCapture(stream), 0};
}

double CopyBytesPerSecond() { return 1e9; }
double LaunchMicroseconds() { return 1; }
void StartProfile() {}
void StopProfile() {}

}  // namespace spatialmamba
