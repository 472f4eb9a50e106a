#include "model/net/cuda_classifier.h"

#include "model/ops/layer_norm_cuda.h"

namespace spatialmamba {

CudaClassifier::CudaClassifier(const Variant& variant, int64_t classes, const BoundTensors& tensors,
                               DeviceWeights& weights)
    : backbone_(variant, tensors, "", weights) {
  norm_ = weights.Norm(MakeNorm(tensors, "norm"));
  head_ =
      weights.Linear(MakeLinear(tensors, "head.weight", "head.bias", classes, variant.dims()[3]),
                     DeviceType::kFloat32);
}

size_t CudaClassifier::WorkspaceBytes(const DeviceCapacity& capacity) const {
  return backbone_.WorkspaceBytes(capacity) +
         DeviceArena::Bytes(capacity.images, backbone_.variant().dims()[3], DeviceType::kFloat32);
}

void CudaClassifier::Forward(DeviceArena& arena, const DeviceGeometry& geometry,
                             const float* images, const DeviceMap& logits,
                             CudaBackbone::OnStage on_stage, CUstream_st* stream) const {
  const size_t before = arena.used();
  const DeviceMap pooled =
      arena.Take(geometry.capacity().images, backbone_.variant().dims()[3], DeviceType::kFloat32);
  const auto head = [&](size_t stage, const DeviceMap& map) {
    on_stage(stage, map);
    if (stage != 3) return;
    const DeviceLevel& level = geometry.level(5);
    LayerNormMeanCuda(map, level, norm_.gain, norm_.bias, pooled, stream);
    DeviceGemm gemm = head_.Gemm(pooled, logits);
    gemm.rows = level.counts + kImageCount;
    gemm.row_capacity = level.images;
    GemmCuda(gemm, stream);
  };
  backbone_.Forward(arena, geometry, images, head, stream);
  arena.Rewind(before);
}

void CudaClassifier::Forward(DeviceArena& arena, const DeviceGeometry& geometry,
                             const float* images, const DeviceMap& logits,
                             CUstream_st* stream) const {
  Forward(
      arena, geometry, images, logits, [](size_t, const DeviceMap&) {}, stream);
}

}  // namespace spatialmamba
