#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "spatialmamba/v1/vision.grpc.pb.h"

namespace spatialmamba {

// A failed status with `details` as the real server sends it.
grpc::Status Refusal(grpc::StatusCode code, const std::string& message,
                     const std::vector<const google::protobuf::Message*>& details);

// UNAVAILABLE with reason QUEUE_FULL and a time to come back, in the details and as pushback.
grpc::Status Busy(grpc::ServerContext& context, int milliseconds);

// Answers in this process as the tests say, and remembers what it was sent.
class FakeServer : private v1::VisionService::Service, private grpc::health::v1::Health::Service {
 public:
  using OnClassify = std::function<grpc::Status(int call, grpc::ServerContext& context,
                                                v1::ClassifyResponse& response)>;

  FakeServer();
  ~FakeServer() override;

  // What Classify does with its call number `call`, from 0. Before the first call only. Default:
  // hat and shoes.
  void set_on_classify(OnClassify on_classify) { on_classify_ = std::move(on_classify); }

  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }
  std::vector<v1::ClassifyRequest> requests() const;
  v1::DetectRequest last_detect() const;

 private:
  grpc::Status Classify(grpc::ServerContext* context, const v1::ClassifyRequest* request,
                        v1::ClassifyResponse* response) override;
  // One object, a cat.
  grpc::Status Detect(grpc::ServerContext* context, const v1::DetectRequest* request,
                      v1::DetectResponse* response) override;
  // Of 30 pixels two thirds are sky, the rest road.
  grpc::Status Segment(grpc::ServerContext* context, const v1::SegmentRequest* request,
                       v1::SegmentResponse* response) override;
  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override;
  grpc::Status Check(grpc::ServerContext* context,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* response) override;

  OnClassify on_classify_;
  mutable std::mutex mutex_;  // guards requests_
  std::vector<v1::ClassifyRequest> requests_;
  v1::DetectRequest last_detect_;  // guarded by mutex_
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace spatialmamba
