#include "clients/cpp/loadgen_tally.h"

#include <algorithm>
#include <numeric>

#include "clients/cpp/call_error.h"

namespace spatialmamba::loadgen {
namespace {

int64_t Microseconds(std::chrono::nanoseconds duration) {
  return std::chrono::round<std::chrono::microseconds>(duration).count();
}

// The code with the server's reason, or that the failure was found on this side.
std::string Reason(const CallError& error) {
  std::string text = CodeName(error.code);
  if (!error.reason.empty()) {
    return text + " " + error.reason;
  }
  if (error.unreachable) {
    return text + " unreachable";
  }
  return text + (error.code == grpc::StatusCode::DEADLINE_EXCEEDED ||
                         error.code == grpc::StatusCode::CANCELLED
                     ? " client"
                     : "");
}

}  // namespace

const char* OutcomeName(OutcomeKind kind) {
  constexpr std::array<const char*, kOutcomes> kNames = {"in_time", "late",      "refused",
                                                         "expired", "cancelled", "failed"};
  return kNames[static_cast<size_t>(kind)];
}

OutcomeKind OutcomeOf(const Ending& ending) {
  switch (ending.status.error_code()) {
    case grpc::StatusCode::OK:
      return ending.latency <= ending.deadline ? OutcomeKind::kInTime : OutcomeKind::kLate;
    case grpc::StatusCode::UNAVAILABLE:
      // Without the server's details it is gRPC that found nobody: no refusal.
      return DescribeFailure(ending.status, "").unreachable ? OutcomeKind::kFailed
                                                            : OutcomeKind::kRefused;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return OutcomeKind::kRefused;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return OutcomeKind::kExpired;
    case grpc::StatusCode::CANCELLED:
      return ending.hung_up ? OutcomeKind::kCancelled : OutcomeKind::kFailed;
    default:
      return OutcomeKind::kFailed;
  }
}

void Tally::Count(const Ending& ending) {
  const OutcomeKind kind = OutcomeOf(ending);
  ++outcomes[static_cast<size_t>(kind)];
  if (ending.status.ok()) {
    images_in_time += kind == OutcomeKind::kInTime ? ending.images : 0;
    latency.Record(Microseconds(ending.latency));
    overshoot.Record(
        Microseconds(std::max(ending.latency - ending.deadline, std::chrono::nanoseconds::zero())));
    return;
  }
  const CallError error = DescribeFailure(ending.status, "the server's address");
  ++reasons[Reason(error)];
  if (kind == OutcomeKind::kCancelled) {
    return;
  }
  no_answer.Record(Microseconds(ending.latency));
  if (error.code == grpc::StatusCode::UNAVAILABLE && !error.unreachable) {
    ++unavailable;
    unavailable_with_hint += error.retry_delay ? 1 : 0;
  }
  if (kind == OutcomeKind::kFailed && first_failure.empty()) {
    first_failure = Render(error);
  }
}

void Tally::Merge(const Tally& other) {
  for (size_t i = 0; i < kOutcomes; ++i) {
    outcomes[i] += other.outcomes[i];
  }
  for (const auto& [reason, count] : other.reasons) {
    reasons[reason] += count;
  }
  unavailable += other.unavailable;
  unavailable_with_hint += other.unavailable_with_hint;
  images_in_time += other.images_in_time;
  latency.Merge(other.latency);
  overshoot.Merge(other.overshoot);
  no_answer.Merge(other.no_answer);
  if (first_failure.empty()) {
    first_failure = other.first_failure;
  }
}

int64_t Tally::sent() const {
  return std::accumulate(outcomes.begin(), outcomes.end(), int64_t{0});
}

double Tally::missed_share() const {
  return awaited() == 0
             ? 0.0
             : 1.0 - static_cast<double>(of(OutcomeKind::kInTime)) / static_cast<double>(awaited());
}

}  // namespace spatialmamba::loadgen
