#include "tests/gpu/heads_on_gpu.h"

#include <map>
#include <memory>
#include <tuple>

#include "model/net/mask_rcnn_tensors.h"
#include "model/net/upernet_tensors.h"

namespace spatialmamba::gpu {
namespace {

constexpr int64_t kMaxDetections = 100;

template <typename Network>
struct WithWeights {
  template <typename... More>
  WithWeights(const ModelSpec& spec, const BoundTensors& tensors, DeviceType type, More... more)
      : weights(type), network(spec, tensors, weights, more...) {}

  DeviceWeights weights;
  Network network;
};

// What `make` makes for these arguments, once. Never destroyed: the CUDA runtime may be gone by
// then.
template <typename Network, typename Make>
const Network& Shared(const ModelSpec& spec, int64_t seed, DeviceType type, Make make) {
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, DeviceType>;
  static auto* kept = new std::map<Key, std::unique_ptr<WithWeights<Network>>>;
  auto& entry = (*kept)[{spec.variant.dim, spec.variant.depths[2], spec.classes, seed, type}];
  if (!entry) entry = make();
  return entry->network;
}

}  // namespace

ModelSpec SpecOf(VisionTask task, const std::string& variant, int64_t classes) {
  return {.task = task, .variant = *FindVariant(variant), .classes = classes};
}

const CudaMaskRcnn& SharedDetector(const ModelSpec& spec, int64_t seed, DeviceType type) {
  return Shared<CudaMaskRcnn>(spec, seed, type, [&] {
    return std::make_unique<WithWeights<CudaMaskRcnn>>(spec, Synthetic(MaskRcnnTensors(spec), seed),
                                                       type, kMaxDetections);
  });
}

const CudaUperNet& SharedSegmenter(const ModelSpec& spec, int64_t seed, DeviceType type) {
  return Shared<CudaUperNet>(spec, seed, type, [&] {
    return std::make_unique<WithWeights<CudaUperNet>>(spec, Synthetic(UperNetTensors(spec), seed),
                                                      type);
  });
}

DetectorRuns::DetectorRuns(const CudaMaskRcnn& network, const DeviceCapacity& capacity)
    : NetworkRuns(capacity, network.WorkspaceBytes(capacity)),
      network_(network),
      detections_(network.TakeDetections(arena(), capacity)) {
  Keep();
}

void DetectorRuns::Forward() {
  network_.Forward(arena(), geometry(), images(), detections_, stream());
}

std::vector<DetectOutput> DetectorRuns::Answers(const Batch& batch,
                                                const std::vector<DetectQuery>& queries, How how) {
  const CudaDetectAnswers answers(queries, network_.sizes());
  const PinnedBuffer host(answers.host_bytes());
  Load(batch);
  answers.Upload(detections_, host.data(), stream());
  Run(how);
  answers.Launch(detections_, host.data(), stream());
  Synchronize(stream());
  return answers.Read(host.data());
}

SegmenterRuns::SegmenterRuns(const CudaUperNet& network, const DeviceCapacity& capacity)
    : NetworkRuns(capacity, network.WorkspaceBytes(capacity)),
      network_(network),
      outputs_(network.TakeOutputs(arena(), capacity)) {
  Keep();
}

void SegmenterRuns::Forward() {
  network_.FillLogits(arena(), geometry(), images(), outputs_, stream());
}

std::vector<SegmentOutput> SegmenterRuns::Answers(const Batch& batch,
                                                  const std::vector<SegmentQuery>& queries,
                                                  How how) {
  const CudaSegmentAnswers answers(batch.spans, queries, network_.classes());
  const DeviceBuffer device(answers.device_bytes());
  const PinnedBuffer host(answers.host_bytes());
  Load(batch);
  Poison(device.data(), device.bytes(), stream());
  Run(how);
  answers.Launch(outputs_, device.data(), host.data(), stream());
  Synchronize(stream());
  return answers.Read(host.data());
}

}  // namespace spatialmamba::gpu
