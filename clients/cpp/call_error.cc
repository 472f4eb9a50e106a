#include "clients/cpp/call_error.h"

#include <array>
#include <cstddef>

#include "clients/cpp/duration.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace spatialmamba {
namespace {

// Returns whether the details were there and readable.
bool AddDetails(const std::string& serialized, CallError& error) {
  google::rpc::Status status;
  if (serialized.empty() || !status.ParseFromString(serialized)) {
    return false;
  }
  for (const google::protobuf::Any& detail : status.details()) {
    if (google::rpc::ErrorInfo info; detail.UnpackTo(&info)) {
      error.reason = info.reason();
    } else if (google::rpc::RetryInfo retry; detail.UnpackTo(&retry)) {
      error.retry_delay = ToMilliseconds(retry.retry_delay());
    } else if (google::rpc::BadRequest request; detail.UnpackTo(&request)) {
      for (const auto& violation : request.field_violations()) {
        error.field_violations.push_back({violation.field(), violation.description()});
      }
    }
  }
  return status.details_size() > 0;
}

}  // namespace

const char* CodeName(grpc::StatusCode code) {
  constexpr std::array<const char*, 17> kNames = {"OK",
                                                  "CANCELLED",
                                                  "UNKNOWN",
                                                  "INVALID_ARGUMENT",
                                                  "DEADLINE_EXCEEDED",
                                                  "NOT_FOUND",
                                                  "ALREADY_EXISTS",
                                                  "PERMISSION_DENIED",
                                                  "RESOURCE_EXHAUSTED",
                                                  "FAILED_PRECONDITION",
                                                  "ABORTED",
                                                  "OUT_OF_RANGE",
                                                  "UNIMPLEMENTED",
                                                  "INTERNAL",
                                                  "UNAVAILABLE",
                                                  "DATA_LOSS",
                                                  "UNAUTHENTICATED"};
  const auto number = static_cast<size_t>(code);
  return number < kNames.size() ? kNames[number] : "UNKNOWN";
}

CallError DescribeFailure(const grpc::Status& status, const std::string& target) {
  CallError error{.code = status.error_code(), .message = status.error_message()};
  const bool has_details = AddDetails(status.error_details(), error);
  if (error.message.empty()) {
    error.message = "the server gave no message";
  }
  // Our server explains every refusal; without details it was gRPC that found nobody.
  if (error.code == grpc::StatusCode::UNAVAILABLE && !has_details) {
    error.unreachable = true;
    error.message =
        "cannot reach a server at " + target + "; is it running? (" + error.message + ")";
  }
  return error;
}

std::string Render(const CallError& error) {
  std::string text = std::string(CodeName(error.code)) + ": " + error.message;
  if (!error.reason.empty()) {
    text += " [" + error.reason + "]";
  }
  for (const FieldViolation& violation : error.field_violations) {
    if (error.message.find(violation.description) != std::string::npos) {
      continue;  // said already
    }
    text += "\n  " + violation.field + ": " + violation.description;
  }
  if (error.retry_delay) {
    text += "\n  try again in " + FormatSeconds(*error.retry_delay);
  }
  return text;
}

}  // namespace spatialmamba
