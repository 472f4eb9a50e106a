#pragma once

#include <exception>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <grpcpp/support/status.h>

#include "batching/batcher.h"
#include "batching/clock.h"
#include "batching/task.h"

namespace spatialmamba {

// Why a request failed, in the words of the API: the machine-readable reasons of ErrorInfo, and
// label values of a metric.
enum class ErrorReason {
  kImageMissing,
  kImageUnsupported,
  kImageDecodeFailed,
  kImageTooLarge,
  kImageBadShape,
  kTooManyImages,
  kRequestTooLarge,
  kReplyTooLarge,
  kInvalidOption,
  kModelAmbiguous,
  kModelNotFound,
  kTaskNotSupported,
  kQueueFull,
  kOverloaded,
  kDraining,
  kStarting,
  kDeadlineExceeded,
  kCancelled,
  kDeviceMemory,
  kDeviceFailed,
  kInternal,
};
std::string_view Name(ErrorReason reason);  // "IMAGE_MISSING", ...
std::vector<std::string> ErrorReasonNames();

// A failed request as a plain value. The message is for the caller: what was wrong and what to do,
// no internals.
struct ServiceError {
  ErrorReason reason = ErrorReason::kInternal;
  std::string message;
  std::string field = {};  // path of what is wrong in the request, such as images[3].encoded
  std::map<std::string, std::string> metadata = {};  // facts for programs, such as limit and value
  Duration retry_after = Duration::zero();           // zero: no hint
};

// A bound of the request that was exceeded.
ServiceError LimitError(ErrorReason reason, int64_t limit, int64_t value,
                        const std::string& message);
// An error of one image of a request: names it, unless it is the server's fault.
ServiceError AtImage(size_t image, ServiceError error);
ServiceError FromRefusal(const Refusal& refusal);
ServiceError FromDrop(DropReason reason);
// The device that was to answer has failed.
ServiceError DeviceFailedError();
// The answer came after the deadline.
ServiceError LateError(Duration by);
// Logs what happened; the caller learns only that the server is to blame.
ServiceError InternalError(std::string_view what);
// The only place that turns exceptions into errors. What is not the caller's fault becomes an
// InternalError.
ServiceError FromException(const std::exception_ptr& exception);

grpc::StatusCode Code(ErrorReason reason);
// With google.rpc.Status (ErrorInfo, BadRequest, RetryInfo) as its details.
grpc::Status ToGrpcStatus(const ServiceError& error);
// Trailing metadata that belongs to the error: grpc-retry-pushback-ms where there is a hint.
std::vector<std::pair<std::string, std::string>> Trailers(const ServiceError& error);

}  // namespace spatialmamba
