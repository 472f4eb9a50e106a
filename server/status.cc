#include "server/status.h"

#include <google/protobuf/any.pb.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "model/image/decode.h"
#include "model/runtime/device_error.h"
#include "server/log.h"

namespace spatialmamba {
namespace {

constexpr const char* kDomain = "spatialmamba";
// Above about 8 KiB of trailers, gRPC clients report RESOURCE_EXHAUSTED in place of the error. The
// message is sent twice, as it is and within the details.
constexpr size_t kLongestMessage = 1500;
// Nothing is promised after that: a caller that waits longer had better find another server.
constexpr Duration kLongestRetry = std::chrono::minutes(1);

struct ReasonEntry {
  ErrorReason reason;
  std::string_view name;
  grpc::StatusCode code;
};

constexpr std::array<ReasonEntry, 21> kReasons = {{
    {ErrorReason::kImageMissing, "IMAGE_MISSING", grpc::INVALID_ARGUMENT},
    {ErrorReason::kImageUnsupported, "IMAGE_UNSUPPORTED", grpc::INVALID_ARGUMENT},
    {ErrorReason::kImageDecodeFailed, "IMAGE_DECODE_FAILED", grpc::INVALID_ARGUMENT},
    {ErrorReason::kImageTooLarge, "IMAGE_TOO_LARGE", grpc::INVALID_ARGUMENT},
    {ErrorReason::kImageBadShape, "IMAGE_BAD_SHAPE", grpc::INVALID_ARGUMENT},
    {ErrorReason::kTooManyImages, "TOO_MANY_IMAGES", grpc::INVALID_ARGUMENT},
    {ErrorReason::kRequestTooLarge, "REQUEST_TOO_LARGE", grpc::INVALID_ARGUMENT},
    {ErrorReason::kReplyTooLarge, "REPLY_TOO_LARGE", grpc::INVALID_ARGUMENT},
    {ErrorReason::kInvalidOption, "INVALID_OPTION", grpc::INVALID_ARGUMENT},
    {ErrorReason::kModelAmbiguous, "MODEL_AMBIGUOUS", grpc::INVALID_ARGUMENT},
    {ErrorReason::kModelNotFound, "MODEL_NOT_FOUND", grpc::NOT_FOUND},
    {ErrorReason::kTaskNotSupported, "TASK_NOT_SUPPORTED", grpc::FAILED_PRECONDITION},
    {ErrorReason::kQueueFull, "QUEUE_FULL", grpc::UNAVAILABLE},
    {ErrorReason::kOverloaded, "OVERLOADED", grpc::UNAVAILABLE},
    {ErrorReason::kDraining, "DRAINING", grpc::UNAVAILABLE},
    {ErrorReason::kStarting, "STARTING", grpc::UNAVAILABLE},
    {ErrorReason::kDeadlineExceeded, "DEADLINE_EXCEEDED", grpc::DEADLINE_EXCEEDED},
    {ErrorReason::kCancelled, "CANCELLED", grpc::CANCELLED},
    {ErrorReason::kDeviceMemory, "DEVICE_MEMORY", grpc::RESOURCE_EXHAUSTED},
    {ErrorReason::kDeviceFailed, "DEVICE_FAILED", grpc::UNAVAILABLE},
    {ErrorReason::kInternal, "INTERNAL", grpc::INTERNAL},
}};

const ReasonEntry& Find(ErrorReason reason) { return kReasons[static_cast<size_t>(reason)]; }

ErrorReason ReasonOf(ImageError::Reason reason) {
  switch (reason) {
    case ImageError::Reason::kEmpty:
      return ErrorReason::kImageMissing;
    case ImageError::Reason::kUnsupportedFormat:
      return ErrorReason::kImageUnsupported;
    case ImageError::Reason::kCorrupt:
      return ErrorReason::kImageDecodeFailed;
    case ImageError::Reason::kTooLarge:
      return ErrorReason::kImageTooLarge;
    case ImageError::Reason::kBadShape:
      return ErrorReason::kImageBadShape;
  }
  return ErrorReason::kInternal;
}

// Cut before the character that crosses the bound, so that it stays UTF-8.
std::string Shortened(const std::string& message) {
  if (message.size() <= kLongestMessage) return message;
  size_t end = kLongestMessage;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return message.substr(0, end) + "...";
}

int64_t RetryMilliseconds(const ServiceError& error) {
  const Duration bounded = std::min(error.retry_after, kLongestRetry);
  return std::chrono::ceil<std::chrono::milliseconds>(bounded).count();
}

}  // namespace

std::string_view Name(ErrorReason reason) { return Find(reason).name; }

std::vector<std::string> ErrorReasonNames() {
  std::vector<std::string> names;
  for (const ReasonEntry& row : kReasons) names.emplace_back(row.name);
  return names;
}

grpc::StatusCode Code(ErrorReason reason) { return Find(reason).code; }

ServiceError LimitError(ErrorReason reason, int64_t limit, int64_t value,
                        const std::string& message) {
  return {.reason = reason,
          .message = message,
          .metadata = {{"limit", absl::StrCat(limit)}, {"value", absl::StrCat(value)}}};
}

ServiceError AtImage(size_t image, ServiceError error) {
  if (error.reason == ErrorReason::kInternal || error.reason == ErrorReason::kDeviceFailed) {
    return error;
  }
  error.field = absl::StrCat("images[", image, "]");
  error.message = absl::StrCat(error.field, ": ", error.message);
  return error;
}

ServiceError FromRefusal(const Refusal& refusal) {
  constexpr ErrorReason kOfRefusal[] = {ErrorReason::kQueueFull, ErrorReason::kOverloaded,
                                        ErrorReason::kDeadlineExceeded, ErrorReason::kDraining};
  return {.reason = kOfRefusal[static_cast<size_t>(refusal.reason)],
          .message = refusal.message,
          .retry_after = refusal.retry_after};
}

ServiceError FromDrop(DropReason reason) {
  switch (reason) {
    case DropReason::kDeadline:
      return {.reason = ErrorReason::kDeadlineExceeded,
              .message =
                  "the request waited until its deadline could not be met any more: allow "
                  "it more time"};
    case DropReason::kOverloaded:
      return {.reason = ErrorReason::kOverloaded,
              .message =
                  "the server has more work than time and gave the request up before it "
                  "was run: try again later",
              .retry_after = std::chrono::milliseconds(100)};
    case DropReason::kCancelled:
      return {.reason = ErrorReason::kCancelled, .message = "the caller cancelled the request"};
    case DropReason::kDraining:
      return {.reason = ErrorReason::kDraining,
              .message = "the server is shutting down: send the request to another one",
              .retry_after = std::chrono::seconds(1)};
  }
  return InternalError("unknown reason of a drop");
}

ServiceError DeviceFailedError() {
  return {.reason = ErrorReason::kDeviceFailed,
          .message = "the device of this server has failed: send the request to another one",
          .retry_after = std::chrono::seconds(1)};
}

ServiceError LateError(Duration by) {
  const int64_t milliseconds = std::chrono::ceil<std::chrono::milliseconds>(by).count();
  return {.reason = ErrorReason::kDeadlineExceeded,
          .message = absl::StrCat("the answer was ready ", milliseconds,
                                  " ms after the deadline: allow the request more time")};
}

ServiceError InternalError(std::string_view what) {
  Log(LogLevel::kError, "internal_error", {{"what", what}});
  return {.reason = ErrorReason::kInternal,
          .message = "the server failed to answer; its log says why"};
}

ServiceError FromException(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const ImageError& error) {
    if (error.reason() != ImageError::Reason::kTooLarge) {
      return {.reason = ReasonOf(error.reason()), .message = error.what()};
    }
    return LimitError(ErrorReason::kImageTooLarge, error.limit(), error.value(), error.what());
  } catch (const OutOfDeviceMemory& error) {
    Log(LogLevel::kWarning, "out_of_device_memory", {{"what", error.what()}});
    return {.reason = ErrorReason::kDeviceMemory,
            .message =
                "the picture takes more memory than its device has free: send a smaller "
                "one, or ask for tiling"};
  } catch (const DeviceFailure&) {
    return DeviceFailedError();
  } catch (const std::exception& error) {
    return InternalError(error.what());
  } catch (...) {
    return InternalError("an exception of unknown type");
  }
}

grpc::Status ToGrpcStatus(const ServiceError& error) {
  const grpc::StatusCode code = Code(error.reason);
  const std::string message = Shortened(error.message);
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(Name(error.reason)));
  info.set_domain(kDomain);
  info.mutable_metadata()->insert(error.metadata.begin(), error.metadata.end());
  details.add_details()->PackFrom(info);
  if (!error.field.empty()) {
    google::rpc::BadRequest bad_request;
    auto& violation = *bad_request.add_field_violations();
    violation.set_field(error.field);
    violation.set_description(message);
    details.add_details()->PackFrom(bad_request);
  }
  if (error.retry_after > Duration::zero()) {
    google::rpc::RetryInfo retry;
    const int64_t milliseconds = RetryMilliseconds(error);
    retry.mutable_retry_delay()->set_seconds(milliseconds / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(milliseconds % 1000) * 1'000'000);
    details.add_details()->PackFrom(retry);
  }
  return {code, message, details.SerializeAsString()};
}

std::vector<std::pair<std::string, std::string>> Trailers(const ServiceError& error) {
  if (error.retry_after <= Duration::zero()) return {};
  return {{"grpc-retry-pushback-ms", absl::StrCat(RetryMilliseconds(error))}};
}

}  // namespace spatialmamba
