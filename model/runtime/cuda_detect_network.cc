#include <optional>
#include <utility>

#include "model/net/cuda_detect_answers.h"
#include "model/net/cuda_mask_rcnn.h"
#include "model/net/device_weights.h"
#include "model/runtime/cuda_dense_networks.h"

namespace spatialmamba {
namespace {

struct DetectExchange final : CudaExchange {
  explicit DetectExchange(CudaScratch& memory) : scratch(memory) {}

  CudaScratch& scratch;
  DeviceDetections detections;
  std::optional<CudaDetectAnswers> answers;  // of the batch that is under way
};

class CudaDetectNetwork final : public CudaNetwork {
 public:
  CudaDetectNetwork(const ModelSpec& spec, const BoundTensors& tensors, int64_t max_detections)
      : weights_(spec.matrices), net_(spec, tensors, weights_, max_detections) {}

  std::unique_ptr<CudaExchange> MakeExchange(CudaScratch& scratch) const override {
    return std::make_unique<DetectExchange>(scratch);
  }

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const override {
    return net_.WorkspaceBytes(capacity);
  }

  void Place(DeviceArena& arena, const DeviceCapacity& capacity,
             CudaExchange& exchange) const override {
    static_cast<DetectExchange&>(exchange).detections = net_.TakeDetections(arena, capacity);
  }

  void Upload(CudaExchange& exchange, std::span<const Span>, std::span<const Query> queries,
              CUstream_st* stream) const override {
    auto& own = static_cast<DetectExchange&>(exchange);
    own.answers.emplace(OfTask<DetectQuery>(queries), net_.sizes());
    own.scratch.Grow(0, own.answers->host_bytes());
    own.answers->Upload(own.detections, own.scratch.host.data(), stream);
  }

  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               CudaExchange& exchange, CUstream_st* stream) const override {
    net_.Forward(arena, geometry, images, static_cast<DetectExchange&>(exchange).detections,
                 stream);
  }

  std::vector<Prediction> Download(CudaExchange& exchange, std::span<const Span>,
                                   std::span<const Query>, CUstream_st* stream) const override {
    auto& own = static_cast<DetectExchange&>(exchange);
    own.answers->Launch(own.detections, own.scratch.host.data(), stream);
    Synchronize(stream);
    return ToPredictions(own.answers->Read(own.scratch.host.data()));
  }

 private:
  DeviceWeights weights_;
  const CudaMaskRcnn net_;
};

}  // namespace

std::unique_ptr<CudaNetwork> MakeCudaDetectNetwork(const ModelSpec& spec,
                                                   const BoundTensors& tensors,
                                                   int64_t max_detections) {
  return std::make_unique<CudaDetectNetwork>(spec, tensors, max_detections);
}

}  // namespace spatialmamba
