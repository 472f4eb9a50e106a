#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/convert.h"
#include "server/load_meter.h"
#include "server/metrics.h"
#include "server/model_table.h"
#include "server/pipeline.h"
#include "spatialmamba/v1/vision.grpc.pb.h"

namespace spatialmamba {

// The gRPC face of the pipeline: turns a call into a request, its outcome into a reply, and writes
// the books (metrics, log line, trailers) when a call ends. Its handlers run on gRPC's threads and
// never block.
class VisionService final : public v1::VisionService::CallbackService {
 public:
  // What it works with; all outlive it.
  struct Parts {
    Pipeline& pipeline;
    const ModelTable& models;
    const LimitsConfig& limits;
    const std::vector<std::string>& devices;  // names, by index
    Metrics& metrics;
    LoadMeter& load;
  };

  explicit VisionService(const Parts& parts) : parts_(parts) {}

  // Whether models are ready. Until then requests are refused (STARTING).
  void SetReady(bool ready) { ready_ = ready; }

  grpc::ServerUnaryReactor* Classify(grpc::CallbackServerContext* context,
                                     const v1::ClassifyRequest* request,
                                     v1::ClassifyResponse* response) override;
  grpc::ServerUnaryReactor* Detect(grpc::CallbackServerContext* context,
                                   const v1::DetectRequest* request,
                                   v1::DetectResponse* response) override;
  grpc::ServerUnaryReactor* Segment(grpc::CallbackServerContext* context,
                                    const v1::SegmentRequest* request,
                                    v1::SegmentResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;

 private:
  // A call of any of the three tasks.
  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* Answer(Method method, grpc::CallbackServerContext* context,
                                   const Request* request, const ReplyOptions& options,
                                   Response* response);

  const Parts parts_;
  std::atomic<bool> ready_ = false;
};

}  // namespace spatialmamba
