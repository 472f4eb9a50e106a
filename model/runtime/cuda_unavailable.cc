#include <stdexcept>

#include "model/runtime/cuda_devices.h"
#include "model/runtime/cuda_replica.h"

namespace spatialmamba {

CudaDevices ListCudaDevices() {
  return {.devices = {}, .why_none = "this server was built without CUDA"};
}

CudaMemory CudaMemoryOf(int) { return {}; }

std::unique_ptr<Replica> MakeCudaReplica(const ModelSpec&, const Checkpoint&,
                                         const CudaReplicaOptions&, ThreadPool&) {
  throw std::logic_error("MakeCudaReplica: this server was built without CUDA");
}

}  // namespace spatialmamba
