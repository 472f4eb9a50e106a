#include "tests/clients/cpp/fake_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

namespace spatialmamba {
namespace {

grpc::Status HatAndShoes(v1::ClassifyResponse& response) {
  response.mutable_model()->set_name("clothing");
  response.mutable_model()->set_version("1");
  v1::Classification& result = *response.add_results();
  result.mutable_image_size()->set_height(20);
  result.mutable_image_size()->set_width(30);
  v1::Class& hat = *result.add_classes();
  hat.set_name("hat");
  hat.set_probability(0.75F);
  v1::Class& shoes = *result.add_classes();
  shoes.set_index(1);
  shoes.set_name("shoes");
  shoes.set_probability(0.25F);
  v1::Explanation& explanation = *result.mutable_explanation();
  explanation.mutable_queue()->set_nanos(1'500'000);
  explanation.set_batch_size(4);
  explanation.set_batch_closed_by("idle");
  explanation.set_device("cpu");
  return grpc::Status::OK;
}

}  // namespace

grpc::Status Refusal(grpc::StatusCode code, const std::string& message,
                     const std::vector<const google::protobuf::Message*>& details) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(code));
  status.set_message(message);
  for (const google::protobuf::Message* detail : details) {
    status.add_details()->PackFrom(*detail);
  }
  return {code, message, status.SerializeAsString()};
}

grpc::Status Busy(grpc::ServerContext& context, int milliseconds) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(milliseconds * 1'000'000);
  context.AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(milliseconds));
  return Refusal(grpc::StatusCode::UNAVAILABLE, "the queue is full", {&info, &retry});
}

FakeServer::FakeServer() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(static_cast<v1::VisionService::Service*>(this));
  builder.RegisterService(static_cast<grpc::health::v1::Health::Service*>(this));
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() { server_->Shutdown(); }

std::vector<v1::ClassifyRequest> FakeServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

grpc::Status FakeServer::Classify(grpc::ServerContext* context, const v1::ClassifyRequest* request,
                                  v1::ClassifyResponse* response) {
  int call = 0;
  {
    const std::lock_guard lock(mutex_);
    call = static_cast<int>(requests_.size());
    requests_.push_back(*request);
  }
  return on_classify_ ? on_classify_(call, *context, *response) : HatAndShoes(*response);
}

v1::DetectRequest FakeServer::last_detect() const {
  const std::lock_guard lock(mutex_);
  return last_detect_;
}

grpc::Status FakeServer::Detect(grpc::ServerContext*, const v1::DetectRequest* request,
                                v1::DetectResponse* response) {
  const std::lock_guard lock(mutex_);
  last_detect_ = *request;
  v1::Detection& result = *response->add_results();
  result.mutable_image_size()->set_height(3);
  result.mutable_image_size()->set_width(2);
  v1::DetectedObject& cat = *result.add_objects();
  cat.set_name("cat");
  cat.set_score(0.75);
  cat.set_category_id(17);
  cat.mutable_box()->set_x2(1.5);
  cat.mutable_mask()->mutable_coco_rle()->set_height(3);
  cat.mutable_mask()->mutable_coco_rle()->set_width(2);
  cat.mutable_mask()->mutable_coco_rle()->set_counts("222");
  return grpc::Status::OK;
}

grpc::Status FakeServer::Segment(grpc::ServerContext*, const v1::SegmentRequest*,
                                 v1::SegmentResponse* response) {
  v1::Segmentation& result = *response->add_results();
  result.mutable_image_size()->set_height(5);
  result.mutable_image_size()->set_width(6);
  result.set_label_map("a PNG file");
  const std::pair<const char*, int> shares[] = {{"road", 10}, {"sky", 20}};
  for (const auto& [name, pixels] : shares) {
    v1::ClassShare& share = *result.add_classes();
    share.set_index(result.classes_size() - 1);
    share.set_name(name);
    share.set_pixels(pixels);
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                                    v1::ListModelsResponse* response) {
  v1::Model& model = *response->add_models();
  model.set_name("clothing");
  model.set_version("1");
  model.set_task(v1::TASK_CLASSIFY);
  model.set_variant("custom");
  model.add_classes()->set_name("hat");
  model.set_ready(true);
  return grpc::Status::OK;
}

grpc::Status FakeServer::Check(grpc::ServerContext*,
                               const grpc::health::v1::HealthCheckRequest* request,
                               grpc::health::v1::HealthCheckResponse* response) {
  using grpc::health::v1::HealthCheckResponse;
  if (request->service() == "nothing") {
    return {grpc::StatusCode::NOT_FOUND, "unknown service"};
  }
  response->set_status(request->service() == "detect" ? HealthCheckResponse::NOT_SERVING
                                                      : HealthCheckResponse::SERVING);
  return grpc::Status::OK;
}

}  // namespace spatialmamba
