#include "model/net/cuda_upernet.h"

#include <algorithm>
#include <string>

#include "model/ops/class_confidence_cuda.h"
#include "model/ops/cuda_api.h"
#include "model/ops/layer_norm_cuda.h"

namespace spatialmamba {
namespace {

// The geometry's level of the first of the backbone's maps, which is that of the logits.
constexpr size_t kFirstLevel = 2;

}  // namespace

CudaUperNet::CudaUperNet(const ModelSpec& spec, const BoundTensors& tensors, DeviceWeights& weights)
    : backbone_(spec.variant, tensors, "backbone.", weights),
      head_(tensors, "decode_head", spec, weights) {
  for (size_t i = 0; i < norms_.size(); ++i) {
    norms_[i] = weights.Norm(MakeNorm(tensors, "backbone.outnorm" + std::to_string(i)));
  }
}

size_t CudaUperNet::OutputBytes(const DeviceCapacity& capacity) const {
  const int tokens = capacity.tokens[kFirstLevel];
  return DeviceArena::Bytes(tokens, classes(), DeviceType::kFloat32) +
         DeviceArena::RoundUp(static_cast<size_t>(tokens)) +
         DeviceArena::RoundUp(static_cast<size_t>(capacity.images) * sizeof(int));
}

// The norms of the backbone's maps stay while its own memory becomes that of the head.
size_t CudaUperNet::WorkspaceBytes(const DeviceCapacity& capacity) const {
  size_t normed = 0;
  for (size_t i = 0; i < 4; ++i) {
    normed += DeviceArena::Bytes(capacity.tokens[kFirstLevel + i], backbone_.variant().dims()[i],
                                 backbone_.type());
  }
  return OutputBytes(capacity) + normed +
         std::max(backbone_.WorkspaceBytes(capacity), head_.WorkspaceBytes(capacity));
}

DeviceSegmentation CudaUperNet::TakeOutputs(DeviceArena& arena,
                                            const DeviceCapacity& capacity) const {
  const int tokens = capacity.tokens[kFirstLevel];
  DeviceSegmentation outputs;
  outputs.logits = arena.Take(tokens, classes(), DeviceType::kFloat32);
  outputs.confidence = static_cast<uint8_t*>(arena.TakeBytes(static_cast<size_t>(tokens)));
  outputs.not_finite =
      static_cast<int*>(arena.TakeBytes(static_cast<size_t>(capacity.images) * sizeof(int)));
  return outputs;
}

void CudaUperNet::FillLogits(DeviceArena& arena, const DeviceGeometry& geometry,
                             const float* images, const DeviceSegmentation& outputs,
                             CUstream_st* stream) const {
  const size_t before = arena.used();
  std::array<DeviceMap, 4> normed;
  for (size_t i = 0; i < 4; ++i) {
    normed[i] = arena.Take(geometry.level(kFirstLevel + i).tokens, backbone_.variant().dims()[i],
                           backbone_.type());
  }
  ZeroDevice(outputs.not_finite, static_cast<size_t>(geometry.capacity().images) * sizeof(int),
             stream);
  const auto norm = [&](size_t stage, const DeviceMap& map) {
    const DeviceLevel& level = geometry.level(kFirstLevel + stage);
    LayerNormCuda(map, norms_[stage].gain, norms_[stage].bias, level.counts + kTokenCount,
                  level.tokens, normed[stage], stream);
  };
  backbone_.Forward(arena, geometry, images, norm, stream);
  head_.Forward(arena, geometry, normed, outputs.logits, stream);
  ClassConfidenceCuda(outputs.logits, geometry.level(kFirstLevel), outputs.confidence,
                      outputs.not_finite, stream);
  arena.Rewind(before);
}

}  // namespace spatialmamba
