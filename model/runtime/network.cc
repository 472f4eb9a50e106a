#include "model/runtime/network.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "model/net/classifier.h"
#include "model/net/mask_rcnn.h"
#include "model/net/mask_rcnn_tensors.h"
#include "model/net/tensor_list.h"
#include "model/net/upernet.h"
#include "model/net/upernet_tensors.h"
#include "model/weights/binder.h"

namespace spatialmamba {
namespace {

class ClassifyNetwork final : public Network {
 public:
  ClassifyNetwork(const ModelSpec& spec, const BoundTensors& tensors)
      : classifier_(spec.variant, spec.classes, tensors) {}

  std::vector<Prediction> Forward(Context& context, Arena& arena, ConstView images,
                                  std::span<const Span> spans,
                                  std::span<const Query> queries) const override {
    std::vector<ClassifyOutput> outputs(OfTask<ClassifyQuery>(queries).size());
    const int64_t classes = classifier_.classes();
    const auto count = static_cast<int64_t>(outputs.size());
    std::vector<float> logits(static_cast<size_t>(count * classes));
    classifier_.Forward(context, arena, images, spans, {logits.data(), count, classes, classes});
    auto from = logits.begin();
    for (ClassifyOutput& output : outputs) {
      output.logits.assign(from, from + classes);
      from += classes;
    }
    return ToPredictions(std::move(outputs));
  }

  int64_t WorkspaceFloats(std::span<const Span> spans) const override {
    return classifier_.WorkspaceFloats(spans);
  }

 private:
  const Classifier classifier_;
};

// Detection and segmentation.
template <typename Net, typename OneQuery>
class DenseNetwork final : public Network {
 public:
  DenseNetwork(const ModelSpec& spec, const BoundTensors& tensors) : net_(spec, tensors) {}

  std::vector<Prediction> Forward(Context& context, Arena& arena, ConstView images,
                                  std::span<const Span> spans,
                                  std::span<const Query> queries) const override {
    return ToPredictions(net_.Forward(context, arena, images, spans, OfTask<OneQuery>(queries)));
  }

  int64_t WorkspaceFloats(std::span<const Span> spans) const override {
    return net_.WorkspaceFloats(spans);
  }

 private:
  const Net net_;
};

void CheckVariant(const Variant& variant) {
  if (variant.dim >= 2 && variant.dim % 2 == 0) return;
  throw CheckpointError("variant: dim must be an even number of at least 2, not " +
                        std::to_string(variant.dim));
}

// Every tensor of a network, and the beginnings of keys that it has no use for.
struct TensorList {
  std::vector<ExpectedTensor> expected;
  std::vector<std::string> ignored_prefixes = {};
};

TensorList TensorsOf(const ModelSpec& spec) {
  switch (spec.task) {
    case VisionTask::kClassify:
      return {ClassifierTensors(spec.variant, spec.classes)};
    case VisionTask::kDetect:
      if (spec.detect.masks) return {MaskRcnnTensors(spec)};
      return {MaskRcnnTensors(spec), {"roi_head.mask_head."}};
    case VisionTask::kSegment:
      return {UperNetTensors(spec), {"auxiliary_head."}};  // which serves training alone
  }
  throw std::invalid_argument("TensorsOf: a task that is none");
}

// Sets `size` to that dimension of a tensor that the checkpoint has.
void ReadSize(const Checkpoint& checkpoint, const std::string& key, size_t dimension,
              int64_t& size) {
  const auto found = checkpoint.tensors.find(key);
  if (found == checkpoint.tensors.end() || found->second.shape.size() <= dimension) return;
  size = found->second.shape[dimension];
}

}  // namespace

BoundTensors BindWeights(const ModelSpec& spec, const Checkpoint& checkpoint, MatrixType matrices) {
  CheckVariant(spec.variant);
  const TensorList list = TensorsOf(spec);
  BoundTensors tensors(Bind(list.expected, checkpoint, list.ignored_prefixes), matrices);
  CheckFinite(tensors);
  return tensors;
}

std::unique_ptr<Network> MakeNetwork(const ModelSpec& spec, const Checkpoint& checkpoint) {
  const BoundTensors tensors = BindWeights(spec, checkpoint, spec.matrices);
  switch (spec.task) {
    case VisionTask::kClassify:
      return std::make_unique<ClassifyNetwork>(spec, tensors);
    case VisionTask::kDetect:
      return std::make_unique<DenseNetwork<MaskRcnn, DetectQuery>>(spec, tensors);
    case VisionTask::kSegment:
      return std::make_unique<DenseNetwork<UperNet, SegmentQuery>>(spec, tensors);
  }
  throw std::invalid_argument("MakeNetwork: a task that is none");
}

void ReadHeadSizes(const Checkpoint& checkpoint, ModelSpec& spec) {
  switch (spec.task) {
    case VisionTask::kClassify:
      ReadSize(checkpoint, "head.bias", 0, spec.classes);
      break;
    case VisionTask::kDetect: {
      int64_t scores = spec.classes + 1;  // with the background
      ReadSize(checkpoint, "roi_head.bbox_head.fc_cls.bias", 0, scores);
      spec.classes = scores - 1;
      ReadSize(checkpoint, "neck.fpn_convs.0.conv.bias", 0, spec.detect.fpn_channels);
      ReadSize(checkpoint, "roi_head.bbox_head.shared_fcs.0.bias", 0, spec.detect.fc_channels);
      spec.detect.masks = checkpoint.tensors.contains("roi_head.mask_head.conv_logits.bias");
      break;
    }
    case VisionTask::kSegment:
      ReadSize(checkpoint, "decode_head.conv_seg.bias", 0, spec.classes);
      ReadSize(checkpoint, "decode_head.conv_seg.weight", 1, spec.segment.channels);
      break;
  }
}

}  // namespace spatialmamba
