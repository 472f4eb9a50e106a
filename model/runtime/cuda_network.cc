#include "model/runtime/cuda_network.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "model/net/cuda_classifier.h"
#include "model/net/device_weights.h"
#include "model/ops/cuda_api.h"
#include "model/runtime/cuda_dense_networks.h"

namespace spatialmamba {
namespace {

struct LogitsExchange final : CudaExchange {
  explicit LogitsExchange(CudaScratch& memory) : scratch(memory) {}

  CudaScratch& scratch;
  DeviceMap logits;  // fp32 [images, classes]
};

class CudaClassifyNetwork final : public CudaNetwork {
 public:
  CudaClassifyNetwork(const ModelSpec& spec, const BoundTensors& tensors)
      : weights_(spec.matrices),
        classes_(spec.classes),
        classifier_(spec.variant, spec.classes, tensors, weights_) {}

  std::unique_ptr<CudaExchange> MakeExchange(CudaScratch& scratch) const override {
    return std::make_unique<LogitsExchange>(scratch);
  }

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const override {
    return LogitsBytes(capacity.images) + classifier_.WorkspaceBytes(capacity);
  }

  void Place(DeviceArena& arena, const DeviceCapacity& capacity,
             CudaExchange& exchange) const override {
    static_cast<LogitsExchange&>(exchange).logits =
        arena.Take(capacity.images, classes_, DeviceType::kFloat32);
  }

  void Upload(CudaExchange& exchange, std::span<const Span> spans, std::span<const Query> queries,
              CUstream_st*) const override {
    OfTask<ClassifyQuery>(queries);
    static_cast<LogitsExchange&>(exchange).scratch.Grow(
        0, LogitsBytes(static_cast<int64_t>(spans.size())));
  }

  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               CudaExchange& exchange, CUstream_st* stream) const override {
    classifier_.Forward(arena, geometry, images, static_cast<LogitsExchange&>(exchange).logits,
                        stream);
  }

  std::vector<Prediction> Download(CudaExchange& exchange, std::span<const Span> spans,
                                   std::span<const Query>, CUstream_st* stream) const override {
    const auto& own = static_cast<LogitsExchange&>(exchange);
    const auto images = static_cast<int64_t>(spans.size());
    CopyToHost(own.scratch.host.data(), own.logits.data, LogitsBytes(images), stream);
    Synchronize(stream);
    std::vector<Prediction> predictions;
    for (int64_t image = 0; image < images; ++image) {
      const float* from =
          static_cast<const float*>(own.scratch.host.data()) + image * own.logits.stride;
      ClassifyOutput output{.logits = {from, from + classes_}};
      if (!std::ranges::all_of(output.logits, [](float v) { return std::isfinite(v); })) {
        throw std::domain_error("the network's logits for this batch are not finite");
      }
      predictions.emplace_back(std::move(output));
    }
    return predictions;
  }

 private:
  size_t LogitsBytes(int64_t images) const {
    return DeviceArena::Bytes(images, classes_, DeviceType::kFloat32);
  }

  DeviceWeights weights_;
  const int64_t classes_;
  const CudaClassifier classifier_;
};

}  // namespace

void CudaScratch::Grow(size_t device_bytes, size_t host_bytes) {
  if (device_bytes > device.bytes()) {
    device = DeviceBuffer();  // first, so that both need not fit
    device = DeviceBuffer(device_bytes);
  }
  if (host_bytes > host.bytes()) {
    host = PinnedBuffer();
    host = PinnedBuffer(host_bytes);
  }
}

std::unique_ptr<CudaNetwork> MakeCudaNetwork(const ModelSpec& spec, const BoundTensors& tensors,
                                             int64_t max_detections) {
  switch (spec.task) {
    case VisionTask::kClassify:
      return std::make_unique<CudaClassifyNetwork>(spec, tensors);
    case VisionTask::kDetect:
      return MakeCudaDetectNetwork(spec, tensors, max_detections);
    case VisionTask::kSegment:
      return MakeCudaSegmentNetwork(spec, tensors);
  }
  throw std::invalid_argument("MakeCudaNetwork: a task that is none");
}

}  // namespace spatialmamba
