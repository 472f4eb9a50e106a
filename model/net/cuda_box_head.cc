#include "model/net/cuda_box_head.h"

#include <utility>
#include <vector>

#include "model/net/arena_plan.h"
#include "model/net/cuda_roi_pooling.h"
#include "model/ops/box_lists_cuda.h"
#include "model/ops/class_boxes_cuda.h"

namespace spatialmamba {
namespace {

constexpr int kSide = 7;
constexpr int kCells = kSide * kSide;
// Boxes that are pooled before they are multiplied: bounds the memory, whatever the batch, and
// gives every multiprocessor of a large device a tile.
constexpr int kRoisAtOnce = 2048;

// The first layer in the order of RoIAlign's output, cell by cell; checkpoints keep the flattened
// cells channel by channel: [hidden, channels, cells].
LinearLayer MakeFirst(const BoundTensors& tensors, const std::string& key,
                      const BoxHeadSizes& sizes) {
  const std::vector<float>& weights = tensors.at(key + ".weight");
  std::vector<float> rows(weights.size());
  for (int64_t o = 0; o < sizes.hidden; ++o) {
    for (int64_t cell = 0; cell < kCells; ++cell) {
      for (int64_t c = 0; c < sizes.channels; ++c) {
        rows[static_cast<size_t>((o * kCells + cell) * sizes.channels + c)] =
            weights[static_cast<size_t>((o * sizes.channels + c) * kCells + cell)];
      }
    }
  }
  return {PackedMatrix(rows, sizes.hidden, kCells * sizes.channels), tensors.at(key + ".bias")};
}

// The deltas first, so that a class's four lie aligned.
LinearLayer MakePredictions(const BoundTensors& tensors, const std::string& key,
                            const BoxHeadSizes& sizes) {
  std::vector<float> weights = tensors.at(key + ".fc_reg.weight");
  std::vector<float> bias = tensors.at(key + ".fc_reg.bias");
  const std::vector<float>& more = tensors.at(key + ".fc_cls.weight");
  const std::vector<float>& more_bias = tensors.at(key + ".fc_cls.bias");
  weights.insert(weights.end(), more.begin(), more.end());
  bias.insert(bias.end(), more_bias.begin(), more_bias.end());
  return {PackedMatrix(weights, 5 * sizes.classes + 1, sizes.hidden), std::move(bias)};
}

}  // namespace

struct CudaBoxHead::Buffers {
  DeviceRois rois;
  DeviceMap predictions;  // of all boxes
  float* scores;
  int* largest;
  DeviceBoxLists lists;
  // Of a piece.
  DeviceMap pooled;  // [boxes * cells, channels]
  DeviceMap a;
  DeviceMap b;
};

template <typename Arena>
CudaBoxHead::Buffers CudaBoxHead::TakeBuffers(Arena& arena, int images, int limit) const {
  Buffers buffers;
  buffers.rois = TakeRois(arena, images, CudaRpn::kLimit, kRoisAtOnce, RoiLabels::kWithout);
  buffers.predictions = arena.Take(buffers.rois.capacity, predict_.outputs, DeviceType::kFloat32);
  buffers.scores = TakeArray<float>(arena, int64_t{buffers.rois.capacity} * classes_);
  buffers.largest = TakeArray<int>(arena, images);
  buffers.lists = TakeBoxLists(arena, images, classes_, limit);
  const int64_t piece = buffers.rois.piece_capacity;
  buffers.pooled = arena.Take(piece * kCells, channels_, type_);
  buffers.a = arena.Take(piece, first_.outputs, type_);
  buffers.b = arena.Take(piece, second_.outputs, type_);
  return buffers;
}

CudaBoxHead::CudaBoxHead(const BoundTensors& tensors, const std::string& key,
                         const BoxHeadSizes& sizes, DeviceWeights& weights)
    : type_(weights.type()),
      channels_(static_cast<int>(sizes.channels)),
      classes_(static_cast<int>(sizes.classes)),
      first_(weights.Linear(MakeFirst(tensors, key + ".shared_fcs.0", sizes))),
      second_(weights.Linear(MakeLinear(tensors, key + ".shared_fcs.1.weight",
                                        key + ".shared_fcs.1.bias", sizes.hidden, sizes.hidden))),
      predict_(weights.Linear(MakePredictions(tensors, key, sizes))) {}

size_t CudaBoxHead::WorkspaceBytes(const DeviceCapacity& capacity, int limit) const {
  ArenaPlan plan;
  TakeBuffers(plan, capacity.images, limit);
  return plan.most();
}

// Outputs of one piece of the boxes.
void CudaBoxHead::Predict(const DeviceGeometry& geometry, const DevicePyramid& pyramid,
                          const Buffers& buffers, int piece, CUstream_st* stream) const {
  const DeviceRois& rois = buffers.rois;
  PoolRois(geometry, pyramid, rois, piece, kSide, buffers.pooled, stream);
  DeviceMap flat = buffers.pooled;  // a box's cells as one row
  flat.channels = flat.stride = kCells * channels_;
  const auto multiply = [&](const DeviceLinear& layer, const DeviceMap& x, const DeviceMap& out,
                            Activation activation) {
    DeviceGemm gemm = layer.Gemm(x, out);
    gemm.activation = activation;
    gemm.rows = rois.counts_of(piece) + kImageCount;
    gemm.row_capacity = rois.piece_capacity;
    GemmCuda(gemm, stream);
  };
  multiply(first_, flat, buffers.a, Activation::kRelu);
  multiply(second_, buffers.a, buffers.b, Activation::kRelu);
  const int first = piece * rois.piece_capacity;
  DeviceMap out = buffers.predictions;
  out.data = static_cast<float*>(out.data) + int64_t{first} * out.stride;
  multiply(predict_, buffers.b, out, Activation::kNone);
}

void CudaBoxHead::Select(const Buffers& buffers, const int* image_count,
                         const DeviceProposals& proposals, const DeviceDetections& detections,
                         CUstream_st* stream) const {
  ZeroDevice(buffers.largest, static_cast<size_t>(detections.images) * sizeof(int), stream);
  ClassBoxParams params;
  params.rois = buffers.rois;
  params.image_count = image_count;
  params.images = detections.images;
  params.roi_counts = proposals.counts;
  params.predictions = buffers.predictions;
  params.classes = classes_;
  params.queries = detections.queries;
  params.wanted = detections.wanted;
  params.scores = buffers.scores;
  params.largest = buffers.largest;
  params.errors = detections.errors;
  params.lists = buffers.lists;
  SelectClassBoxesCuda(params, stream);
  MergeParams merge;
  merge.lists = buffers.lists;
  merge.image_count = image_count;
  merge.errors = detections.errors;
  merge.limit = detections.limit;
  merge.queries = detections.queries;
  merge.boxes = detections.boxes;
  merge.scores = detections.scores;
  merge.labels = detections.labels;
  merge.counts = detections.counts;
  MergeListsCuda(merge, stream);
}

void CudaBoxHead::Forward(DeviceArena& arena, const DeviceGeometry& geometry,
                          const DevicePyramid& pyramid, const DeviceProposals& proposals,
                          const DeviceDetections& detections, CUstream_st* stream) const {
  const size_t before = arena.used();
  const Buffers buffers = TakeBuffers(arena, detections.images, detections.limit);
  PackParams pack;
  pack.image_count = geometry.level(kFirstPyramidLevel).counts + kImageCount;
  pack.images = detections.images;
  pack.limit = CudaRpn::kLimit;
  pack.boxes = proposals.boxes;
  pack.counts = proposals.counts;
  pack.rois = buffers.rois;
  PackRoisCuda(pack, stream);
  for (int piece = 0; piece < buffers.rois.pieces(); ++piece) {
    Predict(geometry, pyramid, buffers, piece, stream);
  }
  Select(buffers, pack.image_count, proposals, detections, stream);
  arena.Rewind(before);
}

}  // namespace spatialmamba
