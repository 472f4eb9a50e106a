#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/net/cuda_classifier.h"
#include "model/net/cuda_mask_rcnn.h"
#include "model/net/cuda_upernet.h"
#include "model/net/mask_rcnn_tensors.h"
#include "model/net/tensor_list.h"
#include "model/net/upernet_tensors.h"
#include "tests/bench/gpu_model.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

constexpr int64_t kWeightsSeed = 1;
constexpr int64_t kClasses = 1000;
constexpr int64_t kDetectClasses = 80;
constexpr int64_t kSegmentClasses = 150;

BoundTensors Synthetic(const std::vector<ExpectedTensor>& list) {
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : list) {
    if (!tensor.optional) {
      tensors[tensor.key] = oracle::Tensor(kWeightsSeed, tensor.key, tensor.shape);
    }
  }
  return tensors;
}

class BenchedClassifier final : public BenchedNetwork {
 public:
  BenchedClassifier(const Variant& variant, DeviceType type)
      : weights_(type),
        network_(variant, kClasses, Synthetic(ClassifierTensors(variant, kClasses)), weights_) {}

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const override {
    return network_.WorkspaceBytes(capacity);
  }
  void Prepare(DeviceArena&, const DeviceCapacity& capacity, std::span<const Span>,
               CUstream_st*) override {
    memory_ = DeviceBuffer(DeviceArena::Bytes(capacity.images, kClasses, DeviceType::kFloat32));
    logits_ = {memory_.data(), static_cast<int>(kClasses),
               static_cast<int>(DeviceArena::Stride(kClasses, DeviceType::kFloat32)),
               DeviceType::kFloat32};
  }
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               CUstream_st* stream) override {
    network_.Forward(arena, geometry, images, logits_, stream);
  }
  std::vector<float> Answer(int64_t images, CUstream_st* stream) const override {
    std::vector<float> logits(static_cast<size_t>(images * kClasses));
    for (int64_t i = 0; i < images; ++i) {
      CopyToHost(&logits[static_cast<size_t>(i * kClasses)],
                 static_cast<const float*>(logits_.data) + i * logits_.stride,
                 kClasses * sizeof(float), stream);
    }
    Synchronize(stream);
    return logits;
  }

 private:
  DeviceWeights weights_;
  CudaClassifier network_;
  DeviceBuffer memory_;
  DeviceMap logits_;
};

class BenchedDetector final : public BenchedNetwork {
 public:
  BenchedDetector(const ModelSpec& spec, DeviceType type)
      : weights_(type), network_(spec, Synthetic(MaskRcnnTensors(spec)), weights_, 100) {}

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const override {
    return network_.WorkspaceBytes(capacity);
  }
  void Prepare(DeviceArena& arena, const DeviceCapacity& capacity, std::span<const Span> spans,
               CUstream_st* stream) override {
    std::vector<DetectQuery> queries;
    for (const Span& span : spans) queries.push_back({.valid = {span.height, span.width}});
    answers_.emplace(queries, network_.sizes());
    host_ = PinnedBuffer(answers_->host_bytes());
    detections_ = network_.TakeDetections(arena, capacity);
    answers_->Upload(detections_, host_.data(), stream);
  }
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               CUstream_st* stream) override {
    network_.Forward(arena, geometry, images, detections_, stream);
    answers_->Launch(detections_, host_.data(), stream);
  }
  std::vector<float> Answer(int64_t, CUstream_st*) const override { return {}; }

 private:
  DeviceWeights weights_;
  CudaMaskRcnn network_;
  std::optional<CudaDetectAnswers> answers_;
  PinnedBuffer host_;
  DeviceDetections detections_;
};

// The pictures have the size of the network's input.
class BenchedSegmenter final : public BenchedNetwork {
 public:
  BenchedSegmenter(const ModelSpec& spec, DeviceType type)
      : weights_(type), network_(spec, Synthetic(UperNetTensors(spec)), weights_) {}

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const override {
    return network_.WorkspaceBytes(capacity);
  }
  void Prepare(DeviceArena& arena, const DeviceCapacity& capacity, std::span<const Span> spans,
               CUstream_st*) override {
    std::vector<SegmentQuery> queries;
    for (const Span& span : spans) queries.push_back({.original = {span.height, span.width}});
    answers_.emplace(spans, queries, network_.classes());
    host_ = PinnedBuffer(answers_->host_bytes());
    device_ = DeviceBuffer(answers_->device_bytes());
    outputs_ = network_.TakeOutputs(arena, capacity);
  }
  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               CUstream_st* stream) override {
    network_.FillLogits(arena, geometry, images, outputs_, stream);
    answers_->Launch(outputs_, device_.data(), host_.data(), stream);
  }
  std::vector<float> Answer(int64_t, CUstream_st*) const override { return {}; }

 private:
  DeviceWeights weights_;
  CudaUperNet network_;
  std::optional<CudaSegmentAnswers> answers_;
  PinnedBuffer host_;
  DeviceBuffer device_;
  DeviceSegmentation outputs_;
};

}  // namespace

std::unique_ptr<BenchedNetwork> MakeBenchedNetwork(const std::string& task,
                                                   const std::string& variant, DeviceType type) {
  const std::optional<Variant> sizes = FindVariant(variant);
  if (!sizes) throw std::invalid_argument(variant + " is no variant: tiny, small, base or micro");
  if (task == "classify") return std::make_unique<BenchedClassifier>(*sizes, type);
  if (task == "detect") {
    return std::make_unique<BenchedDetector>(
        ModelSpec{.task = VisionTask::kDetect, .variant = *sizes, .classes = kDetectClasses}, type);
  }
  if (task == "segment") {
    return std::make_unique<BenchedSegmenter>(
        ModelSpec{.task = VisionTask::kSegment, .variant = *sizes, .classes = kSegmentClasses},
        type);
  }
  throw std::invalid_argument(task + " is no task: classify, detect or segment");
}

}  // namespace spatialmamba
