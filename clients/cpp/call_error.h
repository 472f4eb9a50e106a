#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace spatialmamba {

struct FieldViolation {
  std::string field;  // a path, such as images[3].encoded
  std::string description;
};

// Why a call failed, with what the trailer `grpc-status-details-bin` says about it.
struct CallError {
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  std::string message;
  std::string reason;                                    // for programs; empty if there is none
  std::optional<std::chrono::milliseconds> retry_delay;  // when the server expects to have room
  std::vector<FieldViolation> field_violations;
  bool unreachable = false;  // nobody answered at the address
};

// Describes the failed `status` of a call to `target`.
CallError DescribeFailure(const grpc::Status& status, const std::string& target);

const char* CodeName(grpc::StatusCode code);  // "NOT_FOUND", ...

// One line, then one line for each wrong field and for the time to try again. No line end.
std::string Render(const CallError& error);

}  // namespace spatialmamba
