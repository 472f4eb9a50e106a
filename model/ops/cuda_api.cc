#include "model/ops/cuda_api.h"

#include <cuda_runtime_api.h>

#include "model/ops/launch_error.h"

namespace spatialmamba {
namespace {

// After these every later call of the process on the device fails too.
bool IsSticky(cudaError_t error) {
  switch (error) {
    case cudaErrorCudartUnloading:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorContained:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

[[noreturn]] void Throw(const std::string& doing, cudaError_t error) {
  (void)cudaGetLastError();  // or the next call that asks would report this one again
  throw CudaError(doing + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ")",
                  IsSticky(error), error == cudaErrorMemoryAllocation);
}

void Check(const char* doing, cudaError_t error) {
  if (error != cudaSuccess) Throw(doing, error);
}

void CheckBytes(const char* doing, size_t bytes, cudaError_t error) {
  if (error != cudaSuccess)
    Throw(std::string(doing) + " of " + std::to_string(bytes) + " bytes", error);
}

// For what cannot throw: the error is dropped, so that no later call reports it as its own. Sticky
// ones return with the next call.
void Ignore(cudaError_t error) {
  if (error != cudaSuccess) (void)cudaGetLastError();
}

// The default stream is not ordered with ours, so what is done in it has to be done on return.
void Finish(const char* doing, CUstream_st* stream) {
  if (stream == nullptr) Check(doing, cudaStreamSynchronize(nullptr));
}

}  // namespace

void ThrowLaunchError(const char* kernel, cudaError_t error) {
  Throw(std::string("CUDA: launching kernel ") + kernel, error);
}

void SetCudaDevice(int device) {
  const cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) Throw("CUDA: choosing device " + std::to_string(device), error);
}

void* AllocateDevice(size_t bytes) {
  void* memory = nullptr;
  if (bytes != 0) CheckBytes("CUDA: allocating device memory", bytes, cudaMalloc(&memory, bytes));
  return memory;
}

void FreeDevice(void* memory) noexcept {
  if (memory != nullptr) Ignore(cudaFree(memory));
}

void* AllocatePinned(size_t bytes) {
  void* memory = nullptr;
  if (bytes != 0) {
    CheckBytes("CUDA: allocating pinned memory", bytes,
               cudaHostAlloc(&memory, bytes, cudaHostAllocPortable));
  }
  return memory;
}

void FreePinned(void* memory) noexcept {
  if (memory != nullptr) Ignore(cudaFreeHost(memory));
}

DeviceMemoryInfo QueryDeviceMemory() {
  DeviceMemoryInfo info;
  Check("CUDA: asking for the device's memory", cudaMemGetInfo(&info.free, &info.total));
  return info;
}

void CopyToDevice(void* device, const void* host, size_t bytes, CUstream_st* stream) {
  if (bytes == 0) return;
  constexpr const char* kDoing = "CUDA: copying to the device";
  CheckBytes(kDoing, bytes, cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
  Finish(kDoing, stream);
}

void CopyToHost(void* host, const void* device, size_t bytes, CUstream_st* stream) {
  if (bytes == 0) return;
  constexpr const char* kDoing = "CUDA: copying to the host";
  CheckBytes(kDoing, bytes, cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream));
  Finish(kDoing, stream);
}

void ZeroDevice(void* device, size_t bytes, CUstream_st* stream) {
  if (bytes == 0) return;
  constexpr const char* kDoing = "CUDA: clearing device memory";
  CheckBytes(kDoing, bytes, cudaMemsetAsync(device, 0, bytes, stream));
  Finish(kDoing, stream);
}

CUstream_st* CreateStream() {
  cudaStream_t stream = nullptr;
  Check("CUDA: creating a stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void DestroyStream(CUstream_st* stream) noexcept {
  if (stream != nullptr) Ignore(cudaStreamDestroy(stream));
}

void Synchronize(CUstream_st* stream) {
  Check("CUDA: waiting for a stream", cudaStreamSynchronize(stream));
}

void BeginCapture(CUstream_st* stream) {
  // Other threads, of other devices, may allocate meanwhile.
  Check("CUDA: beginning a capture",
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
}

CUgraphExec_st* EndCapture(CUstream_st* stream) {
  cudaGraph_t graph = nullptr;
  Check("CUDA: ending a capture", cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  Ignore(cudaGraphDestroy(graph));
  Check("CUDA: making a graph of a capture", error);
  return executable;
}

void AbandonCapture(CUstream_st* stream) noexcept {
  cudaGraph_t graph = nullptr;
  Ignore(cudaStreamEndCapture(stream, &graph));
  if (graph != nullptr) Ignore(cudaGraphDestroy(graph));
}

void LaunchGraph(CUgraphExec_st* graph, CUstream_st* stream) {
  Check("CUDA: launching a graph", cudaGraphLaunch(graph, stream));
}

void DestroyGraph(CUgraphExec_st* graph) noexcept {
  if (graph != nullptr) Ignore(cudaGraphExecDestroy(graph));
}

}  // namespace spatialmamba
