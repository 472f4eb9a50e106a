#include <optional>
#include <utility>

#include "model/net/cuda_segment_answers.h"
#include "model/net/cuda_upernet.h"
#include "model/net/device_weights.h"
#include "model/runtime/cuda_dense_networks.h"

namespace spatialmamba {
namespace {

struct SegmentExchange final : CudaExchange {
  explicit SegmentExchange(CudaScratch& memory) : scratch(memory) {}

  CudaScratch& scratch;
  DeviceSegmentation segmentation;
  std::optional<CudaSegmentAnswers> answers;  // of the batch that is under way
};

class CudaSegmentNetwork final : public CudaNetwork {
 public:
  CudaSegmentNetwork(const ModelSpec& spec, const BoundTensors& tensors)
      : weights_(spec.matrices), net_(spec, tensors, weights_) {}

  std::unique_ptr<CudaExchange> MakeExchange(CudaScratch& scratch) const override {
    return std::make_unique<SegmentExchange>(scratch);
  }

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const override {
    return net_.WorkspaceBytes(capacity);
  }

  void Place(DeviceArena& arena, const DeviceCapacity& capacity,
             CudaExchange& exchange) const override {
    static_cast<SegmentExchange&>(exchange).segmentation = net_.TakeOutputs(arena, capacity);
  }

  void Upload(CudaExchange& exchange, std::span<const Span> spans, std::span<const Query> queries,
              CUstream_st*) const override {
    auto& own = static_cast<SegmentExchange&>(exchange);
    own.answers.emplace(spans, OfTask<SegmentQuery>(queries), net_.classes());
    own.scratch.Grow(own.answers->device_bytes(), own.answers->host_bytes());
  }

  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               CudaExchange& exchange, CUstream_st* stream) const override {
    net_.FillLogits(arena, geometry, images, static_cast<SegmentExchange&>(exchange).segmentation,
                    stream);
  }

  // The labels have the pictures' sizes, so that no capture can hold their launch.
  std::vector<Prediction> Download(CudaExchange& exchange, std::span<const Span>,
                                   std::span<const Query>, CUstream_st* stream) const override {
    auto& own = static_cast<SegmentExchange&>(exchange);
    CudaScratch& scratch = own.scratch;
    own.answers->Launch(own.segmentation, scratch.device.data(), scratch.host.data(), stream);
    Synchronize(stream);
    return ToPredictions(own.answers->Read(scratch.host.data()));
  }

 private:
  DeviceWeights weights_;
  const CudaUperNet net_;
};

}  // namespace

std::unique_ptr<CudaNetwork> MakeCudaSegmentNetwork(const ModelSpec& spec,
                                                    const BoundTensors& tensors) {
  return std::make_unique<CudaSegmentNetwork>(spec, tensors);
}

}  // namespace spatialmamba
