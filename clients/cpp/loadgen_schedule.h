#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clients/cpp/loadgen_mix.h"

namespace spatialmamba::loadgen {

using Nanos = std::chrono::nanoseconds;

enum class ArrivalKind { kPoisson, kConstant, kBursts, kRecorded };

const char* ArrivalName(ArrivalKind kind);  // "poisson", ...

// When requests come.
struct Arrivals {
  ArrivalKind kind = ArrivalKind::kPoisson;
  double rate = 0.0;  // requests a second in the mean; not used for recorded arrivals
  // Bursts: Poisson arrivals for `burst_on`, then none for `burst_off`, and so on. The rate within
  // a burst is higher, so that the mean is `rate`.
  Nanos burst_on = std::chrono::milliseconds(200);
  Nanos burst_off = std::chrono::milliseconds(800);
  std::vector<Nanos> recorded;  // rising offsets from the first
};

// One request of the schedule.
struct Shot {
  Nanos at{0};          // after the start
  size_t entry = 0;     // of the mixture
  uint64_t pick = 0;    // which of the entry's images is the first
  bool cancel = false;  // the caller hangs up

  bool operator==(const Shot&) const = default;
};

// The instants in [0, length), rising. The same seed gives the same instants on every machine.
std::vector<Nanos> DrawArrivals(const Arrivals& arrivals, Nanos length, uint64_t seed);

// Arrivals with what each asks for, drawn by the weights and shares of `mix`. The instants do not
// depend on the mixture.
std::vector<Shot> DrawSchedule(const Arrivals& arrivals, const std::vector<MixEntry>& mix,
                               Nanos length, uint64_t seed);

// Offsets in seconds, one a line, in any order; empty lines and those that begin with # are
// skipped. The earliest becomes zero.
absl::StatusOr<std::vector<Nanos>> ParseOffsets(std::string_view text);
absl::StatusOr<std::vector<Nanos>> ReadOffsets(const std::string& file);

}  // namespace spatialmamba::loadgen
