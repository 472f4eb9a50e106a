#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_on_host {

// What tests can do to the devices that cuda_api_on_host.cc makes of the CPU, and ask of them.
//
// A stream's work is done when something waits for it (Synchronize, FreeDevice, a copy to memory
// that is not pinned, DestroyStream), and not before: a missing wait shows. In the default stream
// (null) everything is done at once. A kernel's Fault is thrown by what waits for it; from then on
// the device is broken, as after a sticky error of CUDA. Thread-safe: one kernel at a time.

struct DeviceCounts {
  int64_t launches = 0;  // kernels that were run, those of graphs included
  int64_t graph_launches = 0;
  int64_t copies = 0;       // done, zeroing included
  int64_t allocations = 0;  // of device memory that succeeded
  int64_t live_blocks = 0;  // device memory now
  size_t live_bytes = 0;
  size_t peak_bytes = 0;
};

// Sets up so many healthy devices, numbered from 0 on, with 1 GiB each and no counts. One is there
// from the start. Throws std::logic_error if memory or streams of the ones before are still in use.
void ResetDevices(int count = 1);

DeviceCounts CountsOf(int device = 0);

void LimitMemory(size_t bytes, int device = 0);

// The nth from now on fails, counted from 1: an allocation of device memory for want of it; ...
void FailAllocation(int nth, int device = 0);
// ... a kernel, with what CUDA calls an illegal address, told by what waits for it; ...
void FailKernel(int nth, int device = 0);
// ... a Synchronize, in the same way, after its work is done. Both break the device: all that is
// asked of it afterwards is refused by a sticky error, until ResetDevices.
void FailSynchronize(int nth, int device = 0);

}  // namespace cuda_on_host
