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

grpc::ServerUnaryReactor* VisionService::Classify(grpc::CallbackServerContext* context,
                                                  const v1::ClassifyRequest* request,
                                                  v1::ClassifyResponse* response) {
  VisionCall* call = NewCall(Method::kClassify, context, response, parts_);
  if (!ready_) {
    call->End(Starting());
    return call;
  }
  const ReplyOptions options{.include_logits = request->include_logits(),
                             .explain = request->explain()};
  call->Start(parts_.pipeline, FromProto(Take(request)),
              [this, options, response](const Answer& answer) {
                ToProto(answer, options, parts_.devices, *response);
              });
  return call;
}

grpc::ServerUnaryReactor* VisionService::Detect(grpc::CallbackServerContext* context,
                                                const v1::DetectRequest* request,
                                                v1::DetectResponse* response) {
  VisionCall* call = NewCall(Method::kDetect, context, response, parts_);
  if (ready_) {
    call->Start(parts_.pipeline, FromProto(Take(request)), [](const Answer&) {});
  } else {
    call->End(Starting());
  }
  return call;
}

grpc::ServerUnaryReactor* VisionService::Segment(grpc::CallbackServerContext* context,
                                                 const v1::SegmentRequest* request,
                                                 v1::SegmentResponse* response) {
  VisionCall* call = NewCall(Method::kSegment, context, response, parts_);
  if (ready_) {
    call->Start(parts_.pipeline, FromProto(Take(request)), [](const Answer&) {});
  } else {
    call->End(Starting());
  }
  return call;
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
