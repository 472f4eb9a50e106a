#include "model/net/cuda_rpn.h"

#include <array>
#include <vector>

#include "model/net/arena_plan.h"
#include "model/net/level_gemm.h"
#include "model/ops/box_lists_cuda.h"
#include "model/ops/proposals_cuda.h"

namespace spatialmamba {
namespace {

static_assert(kProposalLevels == kPyramidLevels);
static_assert(kMostProposals == CudaRpn::kLimit);

constexpr float kOverlap = 0.7F;
static_assert(static_cast<double>(kOverlap) <= 0.7, "what is above it is above 0.7 too");

// The two 1x1 convolutions as one: the deltas first, so that an anchor's four lie aligned.
LinearLayer MakePredictions(const BoundTensors& tensors, const std::string& key, int64_t channels) {
  std::vector<float> weights = tensors.at(key + ".rpn_reg.weight");
  std::vector<float> bias = tensors.at(key + ".rpn_reg.bias");
  const std::vector<float>& more = tensors.at(key + ".rpn_cls.weight");
  const std::vector<float>& more_bias = tensors.at(key + ".rpn_cls.bias");
  weights.insert(weights.end(), more.begin(), more.end());
  bias.insert(bias.end(), more_bias.begin(), more_bias.end());
  return {PackedMatrix(weights, 5 * kPixelAnchors, channels), std::move(bias)};
}

}  // namespace

struct CudaRpn::Buffers {
  DeviceMap hidden;  // of any level
  std::array<DeviceMap, kPyramidLevels> predictions;
  std::array<float*, kPyramidLevels> scores;
  DeviceBoxLists lists;
  float* largest;
};

template <typename Arena>
CudaRpn::Buffers CudaRpn::TakeBuffers(Arena& arena, const DeviceCapacity& capacity) const {
  Buffers buffers;
  buffers.hidden = arena.Take(capacity.tokens[kFirstPyramidLevel], conv_.outputs, type_);
  for (size_t i = 0; i < kPyramidLevels; ++i) {
    const int tokens = capacity.tokens[kFirstPyramidLevel + i];
    buffers.predictions[i] = arena.Take(tokens, predict_.outputs, DeviceType::kFloat32);
    buffers.scores[i] = TakeArray<float>(arena, int64_t{tokens} * kPixelAnchors);
  }
  buffers.lists = TakeBoxLists(arena, capacity.images, kProposalLevels, kMostProposals);
  buffers.largest = TakeArray<float>(arena, int64_t{capacity.images} * kProposalLevels);
  return buffers;
}

CudaRpn::CudaRpn(const BoundTensors& tensors, const std::string& key, int64_t channels,
                 DeviceWeights& weights)
    : type_(weights.type()),
      conv_(weights.Linear(MakeConvolution(tensors, key + ".rpn_conv", channels, channels))),
      predict_(weights.Linear(MakePredictions(tensors, key, channels))) {}

size_t CudaRpn::WorkspaceBytes(const DeviceCapacity& capacity) const {
  ArenaPlan plan;
  TakeBuffers(plan, capacity);
  return plan.most();
}

void CudaRpn::Forward(DeviceArena& arena, const DeviceGeometry& geometry,
                      const DevicePyramid& pyramid, const DeviceDetections& detections,
                      const DeviceProposals& proposals, CUstream_st* stream) const {
  const size_t before = arena.used();
  const Buffers buffers = TakeBuffers(arena, geometry.capacity());
  ProposalParams params;
  for (size_t i = 0; i < kPyramidLevels; ++i) {
    const DeviceLevel& level = geometry.level(kFirstPyramidLevel + i);
    LevelConv3x3(WithRelu(conv_.Gemm(pyramid[i], buffers.hidden)), level, stream);
    LevelGemm(predict_.Gemm(buffers.hidden, buffers.predictions[i]), level, stream);
    params.levels[i] = {level, buffers.predictions[i], buffers.scores[i], 4 << i};
  }
  params.queries = detections.queries;
  params.lists = buffers.lists;
  params.largest = buffers.largest;
  params.errors = detections.errors;
  SelectProposalsCuda(params, stream);
  const int* image_count = params.levels[0].level.counts + kImageCount;
  SuppressListsCuda(buffers.lists, image_count, buffers.largest, kOverlap, stream);
  MergeParams merge;
  merge.lists = buffers.lists;
  merge.image_count = image_count;
  merge.errors = detections.errors;
  merge.limit = kLimit;
  merge.boxes = proposals.boxes;
  merge.scores = proposals.scores;
  merge.counts = proposals.counts;
  MergeListsCuda(merge, stream);
  arena.Rewind(before);
}

}  // namespace spatialmamba
