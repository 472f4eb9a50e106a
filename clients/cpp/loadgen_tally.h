#pragma once

#include <grpcpp/support/status.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "clients/cpp/loadgen_histogram.h"

namespace spatialmamba::loadgen {

// What became of a request, as its caller sees it.
enum class OutcomeKind {
  kInTime,     // answered within the deadline, counted from the scheduled instant
  kLate,       // answered after it
  kRefused,    // UNAVAILABLE or RESOURCE_EXHAUSTED: there was no room
  kExpired,    // DEADLINE_EXCEEDED, said by the server or found by gRPC here
  kCancelled,  // the caller hung up, as the schedule wanted
  kFailed,     // anything else
};
inline constexpr size_t kOutcomes = 6;

const char* OutcomeName(OutcomeKind kind);  // "in_time", ...

// One finished call. Durations count from the scheduled instant.
struct Ending {
  grpc::Status status;
  std::chrono::nanoseconds latency{0};
  std::chrono::nanoseconds deadline{0};
  int64_t images = 1;
  bool hung_up = false;  // the schedule cancelled it
};

OutcomeKind OutcomeOf(const Ending& ending);

// Counts and times of many requests. Histograms are in microseconds.
struct Tally {
  std::array<int64_t, kOutcomes> outcomes{};
  std::map<std::string, int64_t> reasons;  // of those without an answer: "UNAVAILABLE QUEUE_FULL"
  int64_t unavailable = 0;                 // said by the server
  int64_t unavailable_with_hint = 0;       // ... with a time to try again
  int64_t images_in_time = 0;
  Histogram latency;          // of the answers
  Histogram overshoot;        // past the deadline, of the answers: zero for those in time
  Histogram no_answer;        // how long it took to hear of a refusal or failure
  std::string first_failure;  // the message of the first that counts as kFailed

  void Count(const Ending& ending);
  void Merge(const Tally& other);

  int64_t of(OutcomeKind kind) const { return outcomes[static_cast<size_t>(kind)]; }
  int64_t sent() const;
  int64_t answered() const { return of(OutcomeKind::kInTime) + of(OutcomeKind::kLate); }
  // Requests whose callers waited for the answer: all but the cancelled.
  int64_t awaited() const { return sent() - of(OutcomeKind::kCancelled); }
  // The share of the awaited that had no answer in time; zero if there were none.
  double missed_share() const;
};

}  // namespace spatialmamba::loadgen
