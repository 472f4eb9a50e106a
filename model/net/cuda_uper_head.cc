#include "model/net/cuda_uper_head.h"

#include <algorithm>
#include <vector>

#include "model/net/conv_unit.h"
#include "model/net/level_gemm.h"
#include "model/ops/bilinear_cuda.h"

namespace spatialmamba {
namespace {

// The geometry's level of the first of the four maps.
constexpr size_t kFirstLevel = 2;

}  // namespace

CudaUperHead::CudaUperHead(const BoundTensors& tensors, const std::string& key,
                           const ModelSpec& spec, DeviceWeights& weights)
    : type_(weights.type()),
      pooling_(tensors, key, spec.variant.dims()[3], spec.segment.pool_scales, weights),
      bottleneck_(tensors, key + ".fpn_bottleneck", std::vector<int64_t>(4, spec.segment.channels),
                  weights),
      classifier_(
          weights.Linear(MakeLinear(tensors, key + ".conv_seg.weight", key + ".conv_seg.bias",
                                    spec.classes, spec.segment.channels))) {
  for (size_t i = 0; i < 3; ++i) {
    const std::string level = std::to_string(i);
    lateral_[i] = weights.Linear(
        MakeConvUnit(tensors, key + ".lateral_convs." + level, spec.variant.dims()[i], 1));
    output_[i] = weights.Linear(
        MakeConvUnit(tensors, key + ".fpn_convs." + level, spec.segment.channels, 9));
  }
}

size_t CudaUperHead::WorkspaceBytes(const DeviceCapacity& capacity) const {
  size_t laterals = 0;
  size_t outputs = 0;
  std::vector<int64_t> enlarged;
  for (size_t i = 0; i < 4; ++i) {
    const int64_t tokens = capacity.tokens[kFirstLevel + i];
    const size_t bytes = DeviceArena::Bytes(tokens, channels(), type_);
    laterals += bytes;
    if (i < 3) outputs += bytes;
    if (i > 0) enlarged.push_back(tokens);
  }
  return laterals + std::max(pooling_.WorkspaceBytes(capacity.images),
                             outputs + bottleneck_.WorkspaceBytes(enlarged));
}

void CudaUperHead::FillLaterals(DeviceArena& arena, const DeviceGeometry& geometry,
                                const std::array<DeviceMap, 4>& features,
                                const std::array<DeviceMap, 4>& laterals,
                                CUstream_st* stream) const {
  pooling_.Forward(arena, features[3], geometry.level(kFirstLevel + 3), laterals[3], stream);
  for (size_t i = 3; i > 0; --i) {
    const size_t below = i - 1;
    const DeviceLevel& level = geometry.level(kFirstLevel + below);
    LevelGemm(WithRelu(lateral_[below].Gemm(features[below], laterals[below])), level, stream);
    AddBilinearCuda(laterals[i], geometry.level(kFirstLevel + i), laterals[below], level, stream);
  }
}

void CudaUperHead::Forward(DeviceArena& arena, const DeviceGeometry& geometry,
                           const std::array<DeviceMap, 4>& features, const DeviceMap& logits,
                           CUstream_st* stream) const {
  const size_t before = arena.used();
  const auto level = [&geometry](size_t i) -> const DeviceLevel& {
    return geometry.level(kFirstLevel + i);
  };
  std::array<DeviceMap, 4> laterals;
  for (size_t i = 0; i < 4; ++i) laterals[i] = arena.Take(level(i).tokens, channels(), type_);
  FillLaterals(arena, geometry, features, laterals, stream);
  std::array<DeviceMap, 4> outputs;
  for (size_t i = 0; i < 3; ++i) {
    outputs[i] = arena.Take(level(i).tokens, channels(), type_);
    LevelConv3x3(WithRelu(output_[i].Gemm(laterals[i], outputs[i])), level(i), stream);
  }
  outputs[3] = laterals[3];
  std::vector<DeviceEnlarged> enlarged;
  for (size_t i = 1; i < 4; ++i) {
    enlarged.push_back(
        {outputs[i], level(i).spans, 0, level(i).counts + kTokenCount, level(i).tokens});
  }
  // Nothing reads the first lateral map any more.
  bottleneck_.Forward(arena, outputs[0], level(0), enlarged, laterals[0], stream);
  LevelGemm(classifier_.Gemm(laterals[0], logits), level(0), stream);
  arena.Rewind(before);
}

}  // namespace spatialmamba
