#include "server/vision_call.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "server/log.h"
#include "server/postprocess.h"
#include "server/status.h"
#include "server/trace.h"

namespace spatialmamba {
namespace {

constexpr const char* kLoadTrailer = "endpoint-load-metrics-bin";

// gRPC counts in system time, which may jump; from here on only the steady clock counts.
TimePoint SteadyDeadline(std::chrono::system_clock::time_point deadline, TimePoint now) {
  using SystemClock = std::chrono::system_clock;
  if (deadline == SystemClock::time_point::max()) return TimePoint::max();
  const SystemClock::duration left = deadline - SystemClock::now();
  constexpr auto kFar = std::chrono::hours(24 * 365);
  return now + std::chrono::duration_cast<Duration>(std::min<SystemClock::duration>(left, kFar));
}

std::string TraceId(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("traceparent");
  if (found != metadata.end()) {
    const auto id = TraceIdOf({found->second.data(), found->second.size()});
    if (id) return *id;
  }
  return NewTraceId();
}

}  // namespace

VisionCall::VisionCall(Method method, grpc::CallbackServerContext& context,
                       google::protobuf::MessageLite& reply, const Books& books)
    : method_(method),
      context_(context),
      reply_(reply),
      books_(books),
      arrival_(std::chrono::steady_clock::now()),
      trace_id_(TraceId(context)) {}

void VisionCall::Start(Pipeline& pipeline, VisionRequest request, Write write) {
  request.arrival = arrival_;
  // A connection is a caller.
  request.caller = absl::HashOf(context_.peer());
  request.deadline = SteadyDeadline(context_.deadline(), arrival_);
  images_ = static_cast<int64_t>(request.images.size());
  pipeline_ = &pipeline;
  // gRPC calls OnCancel and OnDone only after the handler has returned, so both see the ticket.
  ticket_ = pipeline.Start(std::move(request),
                           [this, write = std::move(write)](int model, Outcome outcome) {
                             if (auto* error = std::get_if<ServiceError>(&outcome))
                               return End(model, std::move(*error));
                             write(std::get<Answer>(outcome));
                             End(model, CheckReply());
                           });
}

void VisionCall::OnCancel() {
  if (pipeline_ != nullptr) pipeline_->Cancel(ticket_);
}

std::optional<ServiceError> VisionCall::CheckReply() const {
  const auto bytes = static_cast<int64_t>(reply_.ByteSizeLong());
  if (bytes <= books_.reply_bytes) return std::nullopt;
  return ReplyTooLarge(method_, books_.reply_bytes, bytes);
}

void VisionCall::End(std::optional<ServiceError> error) {
  if (!error) error = CheckReply();
  End(Metrics::kNoModel, std::move(error));
}

// The books are written first: whoever has the reply finds the call in them.
void VisionCall::End(int model, std::optional<ServiceError> error) {
  Record(model, error);
  context_.AddTrailingMetadata("x-trace-id", trace_id_);
  context_.AddTrailingMetadata(kLoadTrailer, books_.load.Report());
  if (!error) return Finish(grpc::Status::OK);
  for (const auto& [key, value] : Trailers(*error)) context_.AddTrailingMetadata(key, value);
  Finish(ToGrpcStatus(*error));
}

void VisionCall::Record(int model, const std::optional<ServiceError>& error) const {
  const Duration duration = std::chrono::steady_clock::now() - arrival_;
  const std::string_view method = kMethodNames[static_cast<size_t>(method_)];
  const grpc::StatusCode code = error ? Code(error->reason) : grpc::OK;
  books_.load.CountRequest(error.has_value());
  books_.metrics.CountRequest(method_, model, code, duration);
  if (error) books_.metrics.CountError(method_, Name(error->reason));

  const LogLevel level = !error                   ? LogLevel::kInfo
                         : code == grpc::INTERNAL ? LogLevel::kError
                                                  : LogLevel::kWarning;
  if (!ProcessLog().Enabled(level) || (!error && !ProcessLog().Sample())) return;
  const std::string name = model == Metrics::kNoModel ? "" : books_.models.at(model).name;
  if (!error) {
    Log(level, "request",
        {{"method", method},
         {"code", static_cast<int>(code)},
         {"model", name},
         {"images", images_},
         {"duration_seconds", duration},
         {"trace_id", trace_id_}});
  } else {
    Log(level, "request",
        {{"method", method},
         {"code", static_cast<int>(code)},
         {"reason", Name(error->reason)},
         {"message", error->message},
         {"model", name},
         {"images", images_},
         {"duration_seconds", duration},
         {"trace_id", trace_id_}});
  }
}

}  // namespace spatialmamba
