#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include <google/protobuf/message_lite.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "server/load_meter.h"
#include "server/metrics.h"
#include "server/model_table.h"
#include "server/pipeline.h"
#include "server/request.h"

namespace spatialmamba {

// One call of VisionService from its arrival to its end. Deletes itself when gRPC is done with it,
// which is only after Finish; gRPC's objects (context, reply) are touched by the one who finishes,
// before that.
class VisionCall final : public grpc::ServerUnaryReactor {
 public:
  struct Books {
    Metrics& metrics;
    LoadMeter& load;
    const ModelTable& models;
    int64_t reply_bytes = 0;  // the largest reply allowed
  };
  // Fills the reply; may take out of the answer what it likes.
  using Write = std::function<void(Answer& answer)>;

  VisionCall(Method method, grpc::CallbackServerContext& context,
             google::protobuf::MessageLite& reply, const Books& books);

  // Sends the request on its way; it will end this call.
  void Start(Pipeline& pipeline, VisionRequest request, Write write);
  // Ends the call at once, with the reply as it is or with an error.
  void End(std::optional<ServiceError> error);

  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  void End(int model, std::optional<ServiceError> error);
  std::optional<ServiceError> CheckReply() const;
  void Record(int model, const std::optional<ServiceError>& error) const;

  const Method method_;
  grpc::CallbackServerContext& context_;
  google::protobuf::MessageLite& reply_;
  const Books books_;
  const TimePoint arrival_;
  const std::string trace_id_;
  int64_t images_ = 0;
  Pipeline* pipeline_ = nullptr;
  Pipeline::Ticket ticket_;
};

}  // namespace spatialmamba
