#include "model/net/cuda_fpn.h"

#include "model/net/level_gemm.h"
#include "model/ops/pyramid_cuda.h"

namespace spatialmamba {

CudaFpn::CudaFpn(const BoundTensors& tensors, const std::string& key,
                 const std::array<int64_t, 4>& dims, int64_t channels, DeviceWeights& weights)
    : type_(weights.type()) {
  for (size_t i = 0; i < 4; ++i) {
    const std::string lateral = key + ".lateral_convs." + std::to_string(i) + ".conv";
    lateral_[i] = weights.Linear(
        MakeLinear(tensors, lateral + ".weight", lateral + ".bias", channels, dims[i]));
    output_[i] = weights.Linear(MakeConvolution(
        tensors, key + ".fpn_convs." + std::to_string(i) + ".conv", channels, channels));
  }
}

size_t CudaFpn::WorkspaceBytes(const DeviceCapacity& capacity) const {
  size_t bytes = 0;
  for (size_t i = 0; i < 4; ++i) {
    bytes += DeviceArena::Bytes(capacity.tokens[kFirstPyramidLevel + i], channels(), type_);
  }
  return bytes;
}

void CudaFpn::Forward(DeviceArena& arena, const DeviceGeometry& geometry,
                      std::span<const DeviceMap, 4> features, const DevicePyramid& pyramid,
                      CUstream_st* stream) const {
  const size_t before = arena.used();
  std::array<DeviceMap, 4> laterals;
  for (size_t i = 4; i-- > 0;) {
    const DeviceLevel& level = geometry.level(kFirstPyramidLevel + i);
    laterals[i] = arena.Take(level.tokens, channels(), type_);
    DeviceGemm gemm = lateral_[i].Gemm(features[i], laterals[i]);
    if (i < 3) {  // the enlarged map above is there first, and the product added to it
      EnlargeCuda(laterals[i + 1], geometry.level(kFirstPyramidLevel + i + 1), level, laterals[i],
                  stream);
      gemm.residual = laterals[i];
    }
    LevelGemm(gemm, level, stream);
  }
  for (size_t i = 0; i < 4; ++i) {
    LevelConv3x3(output_[i].Gemm(laterals[i], pyramid[i]), geometry.level(kFirstPyramidLevel + i),
                 stream);
  }
  ThinCuda(pyramid[3], geometry.level(kFirstPyramidLevel + 3),
           geometry.level(kFirstPyramidLevel + 4), pyramid[4], stream);
  arena.Rewind(before);
}

}  // namespace spatialmamba
