#include "server/vision_service.h"

#include <chrono>
#include <utility>

#include "server/convert.h"
#include "server/vision_call.h"

namespace spatialmamba {
namespace {

ServiceError Starting() {
  return {.reason = ErrorReason::kStarting,
          .message = "the server is still loading its models: try again later",
          .retry_after = std::chrono::seconds(1)};
}

// gRPC made the message for this call alone and does not read it again; its pictures need not be
// copied.
template <typename Message>
Message Take(const Message* request) {
  return std::move(*const_cast<Message*>(request));
}

VisionCall* NewCall(Method method, grpc::CallbackServerContext* context,
                    google::protobuf::MessageLite* response, const VisionService::Parts& parts) {
  return new VisionCall(method, *context, *response,
                        {parts.metrics, parts.load, parts.models, parts.limits.reply_bytes});
}

}  // namespace

template <typename Request, typename Response>
grpc::ServerUnaryReactor* VisionService::Answer(Method method, grpc::CallbackServerContext* context,
                                                const Request* request, const ReplyOptions& options,
                                                Response* response) {
  VisionCall* call = NewCall(method, context, response, parts_);
  if (!ready_) {
    call->End(Starting());
    return call;
  }
  call->Start(parts_.pipeline, FromProto(Take(request)),
              [this, options, response](spatialmamba::Answer& answer) {
                ToProto(answer, options, parts_.devices, *response);
              });
  return call;
}

grpc::ServerUnaryReactor* VisionService::Classify(grpc::CallbackServerContext* context,
                                                  const v1::ClassifyRequest* request,
                                                  v1::ClassifyResponse* response) {
  const ReplyOptions options{.include_logits = request->include_logits(),
                             .explain = request->explain()};
  return Answer(Method::kClassify, context, request, options, response);
}

grpc::ServerUnaryReactor* VisionService::Detect(grpc::CallbackServerContext* context,
                                                const v1::DetectRequest* request,
                                                v1::DetectResponse* response) {
  return Answer(Method::kDetect, context, request, {.explain = request->explain()}, response);
}

grpc::ServerUnaryReactor* VisionService::Segment(grpc::CallbackServerContext* context,
                                                 const v1::SegmentRequest* request,
                                                 v1::SegmentResponse* response) {
  return Answer(Method::kSegment, context, request, {.explain = request->explain()}, response);
}

grpc::ServerUnaryReactor* VisionService::ListModels(grpc::CallbackServerContext* context,
                                                    const v1::ListModelsRequest*,
                                                    v1::ListModelsResponse* response) {
  VisionCall* call = NewCall(Method::kListModels, context, response, parts_);
  for (const ServedModel& model : parts_.models.models()) {
    ToProto(model, {parts_.limits, parts_.devices, ready_}, *response->add_models());
  }
  call->End(std::nullopt);
  return call;
}

grpc::ServerUnaryReactor* VisionService::GetModel(grpc::CallbackServerContext* context,
                                                  const v1::GetModelRequest* request,
                                                  v1::GetModelResponse* response) {
  VisionCall* call = NewCall(Method::kGetModel, context, response, parts_);
  const auto found = parts_.models.Select(request->model().name(), request->model().version());
  if (const auto* error = std::get_if<ServiceError>(&found)) {
    call->End(*error);
    return call;
  }
  ToProto(parts_.models.at(std::get<int>(found)), {parts_.limits, parts_.devices, ready_},
          *response->mutable_model());
  call->End(std::nullopt);
  return call;
}

}  // namespace spatialmamba
