#include "model/ops/cuda_api.h"
#include "model/runtime/cuda_replica.h"
#include "model/runtime/network.h"

namespace spatialmamba {

std::unique_ptr<Replica> MakeCudaReplica(const ModelSpec& spec, const Checkpoint& checkpoint,
                                         const CudaReplicaOptions& options, ThreadPool& pool) {
  SetCudaDevice(options.device);
  const BoundTensors tensors = BindWeights(spec, checkpoint, MatrixType::kFloat32);
  return std::make_unique<CudaReplica>(spec, MakeCudaNetwork(spec, tensors, options.max_detections),
                                       options, pool);
}

}  // namespace spatialmamba
