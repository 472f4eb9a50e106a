#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/net/cuda_mask_rcnn.h"
#include "model/net/cuda_upernet.h"
#include "tests/gpu/on_gpu.h"

namespace spatialmamba::gpu {

// Networks with synthetic weights, made once for each of their arguments and kept.
const CudaMaskRcnn& SharedDetector(const ModelSpec& spec, int64_t seed, DeviceType type);
const CudaUperNet& SharedSegmenter(const ModelSpec& spec, int64_t seed, DeviceType type);

// With the published sizes of the heads.
ModelSpec SpecOf(VisionTask task, const std::string& variant, int64_t classes);

class DetectorRuns final : public NetworkRuns {
 public:
  DetectorRuns(const CudaMaskRcnn& network, const DeviceCapacity& capacity);

  std::vector<DetectOutput> Answers(const Batch& batch, const std::vector<DetectQuery>& queries,
                                    How how = How::kLaunched);

 private:
  void Forward() override;

  const CudaMaskRcnn& network_;
  DeviceDetections detections_;
};

class SegmenterRuns final : public NetworkRuns {
 public:
  SegmenterRuns(const CudaUperNet& network, const DeviceCapacity& capacity);

  std::vector<SegmentOutput> Answers(const Batch& batch, const std::vector<SegmentQuery>& queries,
                                     How how = How::kLaunched);

 private:
  void Forward() override;

  const CudaUperNet& network_;
  DeviceSegmentation outputs_;
};

}  // namespace spatialmamba::gpu
