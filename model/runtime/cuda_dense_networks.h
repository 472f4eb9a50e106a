#pragma once

#include <memory>

#include "model/net/layers.h"
#include "model/runtime/cuda_network.h"

namespace spatialmamba {

// For MakeCudaNetwork alone. `tensors`: bound with fp32 matrices.
std::unique_ptr<CudaNetwork> MakeCudaDetectNetwork(const ModelSpec& spec,
                                                   const BoundTensors& tensors,
                                                   int64_t max_detections);
std::unique_ptr<CudaNetwork> MakeCudaSegmentNetwork(const ModelSpec& spec,
                                                    const BoundTensors& tensors);

}  // namespace spatialmamba
