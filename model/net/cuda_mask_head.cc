#include "model/net/cuda_mask_head.h"

#include <utility>

#include "model/net/arena_plan.h"
#include "model/net/cuda_roi_pooling.h"
#include "model/net/level_gemm.h"
#include "model/net/mask_head.h"
#include "model/ops/box_lists_cuda.h"
#include "model/ops/mask_logits_cuda.h"

namespace spatialmamba {
namespace {

constexpr int kSide = static_cast<int>(kMaskSide / 2);
constexpr int kCells = kSide * kSide;
// Boxes that go through the head together: bounds the memory, whatever the batch, and is enough to
// fill a large device.
constexpr int kRoisAtOnce = 256;

}  // namespace

struct CudaMaskHead::Buffers {
  DeviceRois rois;
  DeviceSpan* spans;  // of a piece's cells
  DeviceMap x;
  DeviceMap next;
  DeviceMap doubled;
};

template <typename Arena>
CudaMaskHead::Buffers CudaMaskHead::TakeBuffers(Arena& arena, int images, int limit) const {
  Buffers buffers;
  buffers.rois = TakeRois(arena, images, limit, kRoisAtOnce, RoiLabels::kWith);
  const int64_t piece = buffers.rois.piece_capacity;
  buffers.spans = TakeArray<DeviceSpan>(arena, piece);
  buffers.x = arena.Take(piece * kCells, channels_, type_);
  buffers.next = arena.Take(piece * kCells, channels_, type_);
  buffers.doubled = arena.Take(piece * kCells, upsample_.outputs, type_);
  return buffers;
}

CudaMaskHead::CudaMaskHead(const BoundTensors& tensors, const std::string& key, int64_t channels,
                           DeviceWeights& weights)
    : type_(weights.type()),
      channels_(static_cast<int>(channels)),
      upsample_(weights.Linear(MakeMaskUpsample(tensors, key + ".upsample", channels))),
      class_weights_(weights.Floats(tensors.at(key + ".conv_logits.weight"))),
      class_bias_(weights.Floats(tensors.at(key + ".conv_logits.bias"))) {
  for (size_t i = 0; i < convs_.size(); ++i) {
    convs_[i] = weights.Linear(MakeConvolution(
        tensors, key + ".convs." + std::to_string(i) + ".conv", channels, channels));
  }
}

size_t CudaMaskHead::WorkspaceBytes(const DeviceCapacity& capacity, int limit) const {
  ArenaPlan plan;
  TakeBuffers(plan, capacity.images, limit);
  return plan.most();
}

// A piece's boxes are images of kSide by kSide pixels.
void CudaMaskHead::FillPiece(const DeviceGeometry& geometry, const DevicePyramid& pyramid,
                             const Buffers& buffers, int piece, float* masks,
                             CUstream_st* stream) const {
  const DeviceRois& rois = buffers.rois;
  DeviceLevel cells = {};
  cells.counts = rois.counts_of(piece);
  cells.spans = buffers.spans;
  cells.images = rois.piece_capacity;
  cells.tokens = rois.piece_capacity * kCells;
  PoolRois(geometry, pyramid, rois, piece, kSide, buffers.x, stream);
  DeviceMap x = buffers.x;
  DeviceMap next = buffers.next;
  for (const DeviceLinear& layer : convs_) {
    LevelConv3x3(WithRelu(layer.Gemm(x, next)), cells, stream);
    std::swap(x, next);
  }
  LevelGemm(WithRelu(upsample_.Gemm(x, buffers.doubled)), cells, stream);
  DeviceMaskLogits logits;
  logits.doubled = buffers.doubled;
  logits.side = kSide;
  logits.class_weights = class_weights_;
  logits.class_bias = class_bias_;
  logits.rois = rois;
  logits.piece = piece;
  logits.out = masks;
  MaskLogitsCuda(logits, stream);
}

void CudaMaskHead::Forward(DeviceArena& arena, const DeviceGeometry& geometry,
                           const DevicePyramid& pyramid, const DeviceDetections& detections,
                           CUstream_st* stream) const {
  const size_t before = arena.used();
  const Buffers buffers = TakeBuffers(arena, detections.images, detections.limit);
  PackParams pack;
  pack.image_count = geometry.level(kFirstPyramidLevel).counts + kImageCount;
  pack.images = detections.images;
  pack.limit = detections.limit;
  pack.boxes = detections.boxes;
  pack.labels = detections.labels;
  pack.counts = detections.counts;
  pack.queries = detections.queries;
  pack.rois = buffers.rois;
  pack.spans = buffers.spans;
  pack.side = kSide;
  PackRoisCuda(pack, stream);
  for (int piece = 0; piece < buffers.rois.pieces(); ++piece) {
    FillPiece(geometry, pyramid, buffers, piece, detections.masks, stream);
  }
  arena.Rewind(before);
}

}  // namespace spatialmamba
