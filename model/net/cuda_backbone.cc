#include "model/net/cuda_backbone.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "model/net/level_gemm.h"
#include "model/ops/depthwise_cuda.h"
#include "model/ops/round_cuda.h"
#include "model/ops/scan_cuda.h"
#include "model/ops/state_fusion_cuda.h"
#include "model/ops/stem_cuda.h"

namespace spatialmamba {
namespace {

// Where each stage lies among the levels of a geometry.
size_t LevelOfStage(size_t stage) { return stage + 2; }

// Matrix [outputs, inputs] as [inputs, outputs].
std::vector<float> Transposed(const PackedMatrix& matrix) {
  const std::vector<float> rows = Unpacked(matrix);
  const auto outputs = static_cast<size_t>(matrix.outputs());
  const auto inputs = static_cast<size_t>(matrix.inputs());
  std::vector<float> columns(rows.size());
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t i = 0; i < inputs; ++i) columns[i * outputs + o] = rows[o * inputs + i];
  }
  return columns;
}

// A map of that shape at the beginning of a buffer.
DeviceMap Shaped(void* buffer, int64_t channels, DeviceType type) {
  return {buffer, static_cast<int>(channels), static_cast<int>(DeviceArena::Stride(channels, type)),
          type};
}

// The residual stream is fp32 whatever the type of the rest: what a bf16 sum loses in block after
// block would be more than all other roundings together.
DeviceMap Stream(void* buffer, int64_t channels) {
  return Shaped(buffer, channels, DeviceType::kFloat32);
}

void CheckVariant(const Variant& variant) {
  const char* rule = variant.dim < 16 || variant.dim % 16 != 0 ? "a multiple of 16"
                     : variant.dim > 96                        ? "at most 96"
                                                               : nullptr;
  if (rule == nullptr) return;
  throw std::invalid_argument("variant: on a GPU dim must be " + std::string(rule) + ", not " +
                              std::to_string(variant.dim) + ": run this model with `device: cpu`");
}

}  // namespace

// What each buffer holds at most over the stem and all stages, in bytes.
struct CudaBackbone::Sizes {
  size_t x = 0;       // fp32 [tokens, dim]: the residual stream, and its other half
  size_t normed = 0;  // [tokens, dim]: its normalised form
  size_t wide = 0;    // u and z [tokens, 4 dim]; the hidden layer of the MLP and of down-sampling
  size_t inner = 0;   // [tokens, 2 dim], two of them
  size_t narrow = 0;  // fp32 [tokens, rank + 2]

  size_t total() const { return 2 * x + normed + wide + 2 * inner + narrow; }
};

struct CudaBackbone::Buffers {
  void* x;
  void* next;
  void* normed;
  void* wide;
  void* inner;
  void* state;
  void* narrow;
};

CudaBackbone::CudaBackbone(const Variant& variant, const BoundTensors& tensors,
                           const std::string& prefix, DeviceWeights& weights)
    : variant_(variant), type_(weights.type()) {
  CheckVariant(variant);
  const StemLayer stem = MakeStem(tensors, prefix + "patch_embed", variant.dim);
  conv1_weights_ = weights.Floats(Transposed(stem.conv1.weights));
  conv1_bias_ = weights.Floats(stem.conv1.bias);
  conv2a_ = weights.Linear(stem.conv2a);
  conv2b_ = weights.Linear(stem.conv2b);
  conv3_ = weights.Linear(stem.conv3);
  project_ = weights.Linear(stem.project);
  for (size_t i = 0; i < 4; ++i) {
    const std::string key = prefix + "layers." + std::to_string(i);
    const int64_t dim = variant.dims()[i];
    for (int64_t b = 0; b < variant.depths[i]; ++b) {
      blocks_[i].push_back(
          Uploaded(MakeBlock(tensors, key + ".blocks." + std::to_string(b), dim), weights));
    }
    if (i == 3) continue;
    const DownSamplingLayer down = MakeDownSampling(tensors, key + ".downsample", dim);
    downs_[i] = {weights.Linear(down.expand), weights.Depthwise(down.conv),
                 weights.Linear(down.project)};
  }
}

CudaBackbone::Block CudaBackbone::Uploaded(const BlockLayer& block, DeviceWeights& weights) {
  const SsmLayer& ssm = block.ssm;
  Block on_device;
  on_device.cpe1 = weights.Depthwise(block.cpe1);
  on_device.norm1 = weights.Norm(block.norm1);
  on_device.in_proj = weights.Linear(ssm.in_proj);
  on_device.conv = weights.Depthwise(ssm.conv);
  on_device.x_proj = weights.Linear(ssm.x_proj);
  on_device.scan = {static_cast<int>(ssm.rank), weights.Floats(ssm.step_weight),
                    weights.Floats(ssm.step_bias), weights.Floats(ssm.decay)};
  on_device.fusion = {weights.Floats(ssm.fusion_taps), weights.Floats(ssm.skip),
                      weights.Norm(ssm.out_norm)};
  on_device.out_proj = weights.Linear(ssm.out_proj);
  on_device.cpe2 = weights.Depthwise(block.cpe2);
  on_device.norm2 = weights.Norm(block.norm2);
  on_device.fc1 = weights.Linear(block.fc1);
  on_device.fc2 = weights.Linear(block.fc2);
  return on_device;
}

CudaBackbone::Sizes CudaBackbone::Plan(const DeviceCapacity& capacity) const {
  Sizes sizes;
  const auto most = [this](size_t& bytes, int64_t tokens, int64_t channels) {
    bytes = std::max(bytes, DeviceArena::Bytes(tokens, channels, type_));
  };
  most(sizes.inner, capacity.tokens[1], variant_.dim / 2);  // the stem
  for (size_t i = 0; i < 4; ++i) {
    const int64_t tokens = capacity.tokens[LevelOfStage(i)];
    const int64_t dim = variant_.dims()[i];
    most(sizes.normed, tokens, dim);
    sizes.x = std::max(sizes.x, DeviceArena::Bytes(tokens, dim, DeviceType::kFloat32));
    most(sizes.wide, tokens, (i < 3 ? 8 : 4) * dim);
    most(sizes.inner, tokens, 2 * dim);
    if (i < 3) most(sizes.inner, capacity.tokens[LevelOfStage(i + 1)], 8 * dim);
    sizes.narrow =
        std::max(sizes.narrow, DeviceArena::Bytes(tokens, StepRank(dim) + 2, DeviceType::kFloat32));
  }
  return sizes;
}

size_t CudaBackbone::WorkspaceBytes(const DeviceCapacity& capacity) const {
  return Plan(capacity).total();
}

void CudaBackbone::RunStem(const Buffers& buffers, const DeviceGeometry& geometry,
                           const float* images, CUstream_st* stream) const {
  const int64_t dim = variant_.dim;
  const DeviceLevel& half = geometry.level(1);
  const DeviceLevel& quarter = geometry.level(2);
  const DeviceMap a = Shaped(buffers.inner, dim / 2, type_);
  const DeviceMap b = Shaped(buffers.state, dim / 2, type_);
  const DeviceMap wide = Shaped(buffers.wide, 4 * dim, type_);
  StemConvCuda(images, geometry.level(0), half, conv1_weights_, conv1_bias_, a, stream);
  LevelConv3x3(WithRelu(conv2a_.Gemm(a, b)), 1, half, half, stream);
  LevelConv3x3(WithResidual(conv2b_.Gemm(b, a), a), 1, half, half, stream);
  LevelConv3x3(WithRelu(conv3_.Gemm(a, wide)), 2, half, quarter, stream);
  LevelGemm(project_.Gemm(wide, Stream(buffers.x, dim)), quarter, stream);
}

void CudaBackbone::RunBlock(const Buffers& buffers, const Block& block, int64_t dim,
                            const DeviceLevel& level, CUstream_st* stream) const {
  const auto inner_channels = static_cast<int>(2 * dim);
  const DeviceMap x = Stream(buffers.x, dim);
  const DeviceMap next = Stream(buffers.next, dim);
  const DeviceMap normed = Shaped(buffers.normed, dim, type_);
  const DeviceMap wide = Shaped(buffers.wide, 4 * dim, type_);
  const DeviceMap u = wide.Channels(0, inner_channels);
  const DeviceMap z = wide.Channels(inner_channels, inner_channels);
  const DeviceMap inner = Shaped(buffers.inner, 2 * dim, type_);
  const DeviceMap state = Shaped(buffers.state, 2 * dim, type_);
  const DeviceMap rbc = Shaped(buffers.narrow, block.scan.rank + 2, DeviceType::kFloat32);
  DeviceMap c = rbc;  // its last channel; a single value needs no alignment
  c.data = static_cast<float*>(rbc.data) + block.scan.rank + 1;
  c.channels = 1;

  DepthwiseResidualNormCuda(x, level, block.cpe1, block.norm1, next, normed, stream);
  LevelGemm(block.in_proj.Gemm(normed, wide), level, stream);
  DepthwiseCuda(u, level, block.conv, Activation::kSilu, inner, stream);
  LevelGemm(block.x_proj.Gemm(inner, rbc), level, stream);
  ScanCuda(inner, rbc, level, block.scan, state, stream);
  StateFusionCuda({state, c, inner, z}, level, block.fusion, inner, stream);
  LevelGemm(WithResidual(block.out_proj.Gemm(inner, next), next), level, stream);
  DepthwiseResidualNormCuda(next, level, block.cpe2, block.norm2, x, normed, stream);
  DeviceGemm expand = block.fc1.Gemm(normed, wide);
  expand.activation = Activation::kGelu;
  LevelGemm(expand, level, stream);
  LevelGemm(WithResidual(block.fc2.Gemm(wide, x), x), level, stream);
}

void CudaBackbone::RunDownSampling(const Buffers& buffers, size_t stage,
                                   const DeviceGeometry& geometry, CUstream_st* stream) const {
  const DownSampling& down = downs_[stage];
  const int64_t dim = variant_.dims()[stage];
  const DeviceLevel& from = geometry.level(LevelOfStage(stage));
  const DeviceLevel& to = geometry.level(LevelOfStage(stage + 1));
  const DeviceMap wide = Shaped(buffers.wide, 8 * dim, type_);
  const DeviceMap reduced = Shaped(buffers.inner, 8 * dim, type_);
  DeviceMap x = Stream(buffers.x, dim);
  if (type_ != x.type) {
    const DeviceMap rounded = Shaped(buffers.normed, dim, type_);
    RoundCuda(x, from.counts + kTokenCount, from.tokens, rounded, stream);
    x = rounded;
  }
  LevelGemm(WithRelu(down.expand.Gemm(x, wide)), from, stream);
  DepthwiseStride2Cuda(wide, from, to, down.conv, reduced, stream);
  LevelGemm(down.project.Gemm(reduced, Stream(buffers.x, 2 * dim)), to, stream);
}

void CudaBackbone::Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
                           OnStage on_stage, CUstream_st* stream) const {
  const Sizes sizes = Plan(geometry.capacity());
  const size_t before = arena.used();
  const Buffers buffers{.x = arena.TakeBytes(sizes.x),
                        .next = arena.TakeBytes(sizes.x),
                        .normed = arena.TakeBytes(sizes.normed),
                        .wide = arena.TakeBytes(sizes.wide),
                        .inner = arena.TakeBytes(sizes.inner),
                        .state = arena.TakeBytes(sizes.inner),
                        .narrow = arena.TakeBytes(sizes.narrow)};
  RunStem(buffers, geometry, images, stream);
  for (size_t i = 0; i < 4; ++i) {
    const int64_t dim = variant_.dims()[i];
    for (const Block& block : blocks_[i]) {
      RunBlock(buffers, block, dim, geometry.level(LevelOfStage(i)), stream);
    }
    on_stage(i, Stream(buffers.x, dim));
    if (i < 3) RunDownSampling(buffers, i, geometry, stream);
  }
  arena.Rewind(before);
}

}  // namespace spatialmamba
