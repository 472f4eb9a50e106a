#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

struct CUstream_st;
struct CUgraphExec_st;

namespace spatialmamba {

// The little that this product needs of the CUDA runtime, behind names of its own: cuda_api.cc
// calls CUDA, tests/cuda_on_host/cuda_api_on_host.cc runs everything on the CPU, faults included.
// All of it concerns the calling thread's current device.

// What CUDA reports, with its own name and text. `sticky`: the process can do nothing more with the
// device.
class CudaError : public std::runtime_error {
 public:
  CudaError(const std::string& what, bool sticky, bool out_of_memory)
      : std::runtime_error(what), sticky_(sticky), out_of_memory_(out_of_memory) {}
  bool sticky() const { return sticky_; }
  bool out_of_memory() const { return out_of_memory_; }

 private:
  bool sticky_;
  bool out_of_memory_;
};

// Makes `device` that of the calling thread.
void SetCudaDevice(int device);

// Memory, aligned to 256 bytes. Zero bytes are a null pointer. Not within a capture.
void* AllocateDevice(size_t bytes);
void FreeDevice(void* memory) noexcept;
void* AllocatePinned(size_t bytes);  // on the host, for copies that overlap with work
void FreePinned(void* memory) noexcept;
struct DeviceMemoryInfo {
  size_t free = 0;
  size_t total = 0;
};
DeviceMemoryInfo QueryDeviceMemory();

// In the order of the stream; the host's side must stay as it is until it is done, and is copied at
// once where it is not pinned.
void CopyToDevice(void* device, const void* host, size_t bytes, CUstream_st* stream);
void CopyToHost(void* host, const void* device, size_t bytes, CUstream_st* stream);
void ZeroDevice(void* device, size_t bytes, CUstream_st* stream);

// A stream of its own, not ordered with any other.
CUstream_st* CreateStream();
void DestroyStream(CUstream_st* stream) noexcept;
// Waits until everything in the stream is done; throws what went wrong in it.
void Synchronize(CUstream_st* stream);

// Between these, launches and copies in the stream are recorded and not run.
void BeginCapture(CUstream_st* stream);
CUgraphExec_st* EndCapture(CUstream_st* stream);
// Ends a capture whose recording failed.
void AbandonCapture(CUstream_st* stream) noexcept;
void LaunchGraph(CUgraphExec_st* graph, CUstream_st* stream);
void DestroyGraph(CUgraphExec_st* graph) noexcept;

// Owners of the above.
template <void* (*kAllocate)(size_t), void (*kFree)(void*) noexcept>
class CudaBuffer {
 public:
  CudaBuffer() = default;
  explicit CudaBuffer(size_t bytes) : data_(kAllocate(bytes)), bytes_(bytes) {}
  ~CudaBuffer() { kFree(data_); }
  CudaBuffer(CudaBuffer&& other) noexcept { swap(other); }
  CudaBuffer& operator=(CudaBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(CudaBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
};
using DeviceBuffer = CudaBuffer<&AllocateDevice, &FreeDevice>;
using PinnedBuffer = CudaBuffer<&AllocatePinned, &FreePinned>;

class CudaStream {
 public:
  CudaStream() : stream_(CreateStream()) {}
  ~CudaStream() { DestroyStream(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  CUstream_st* get() const { return stream_; }

 private:
  CUstream_st* stream_;
};

}  // namespace spatialmamba
