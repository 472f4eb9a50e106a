#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "clients/cpp/loadgen_caller.h"
#include "clients/cpp/loadgen_schedule.h"
#include "clients/cpp/loadgen_tally.h"
#include "clients/cpp/loadgen_target.h"

namespace spatialmamba::loadgen {

// When to stop early: when `interrupted` becomes true, or at an instant.
class StopSign {
 public:
  StopSign(const std::atomic<bool>& interrupted, TimePoint at)
      : interrupted_(interrupted), at_(at) {}
  bool up() const { return interrupted_.load() || Clock::now() >= at_; }
  TimePoint at() const { return at_; }
  // Returns false if the sign went up before.
  bool SleepUntil(TimePoint instant) const;

 private:
  const std::atomic<bool>& interrupted_;
  TimePoint at_;
};

// What was measured at one load.
struct Point {
  std::string label;
  std::string arrivals;  // "poisson", ..., or "closed"
  double rate = 0.0;     // asked for, requests a second; zero for a closed loop
  int64_t callers = 0;   // of a closed loop
  uint64_t seed = 0;
  Nanos measured{0};           // without the warm-up
  std::vector<Tally> entries;  // of the mixture
  Histogram lateness;          // of the sends, in microseconds
  Nanos lateness_bound{0};
  bool complete = true;  // false: stopped early
  int64_t attempts = 1;  // with those that were discarded because sends were late

  Tally total() const;
  double goodput() const;  // requests answered in time, a second
  double offered() const;  // requests sent, a second
  // p99 of the lateness is within the bound.
  bool valid() const;
};

// An open loop: requests go out at their scheduled instants whatever becomes of them.
struct OpenLoop {
  std::string label;
  Arrivals arrivals;
  Nanos warmup{0};  // sent, but not counted
  Nanos duration{0};
  uint64_t seed = 1;
  Nanos lateness_bound{0};
};
Point Run(const OpenLoop& load, Target& target, const StopSign& stop);

// A closed loop: each of `callers` sends its next request when the last was answered. One that was
// refused waits for as long as the server says, or 20 ms.
struct ClosedLoop {
  std::string label;
  int64_t callers = 1;
  Nanos warmup{0};  // what ends in it does not count
  Nanos duration{0};
  int64_t skip = 0;   // the first requests that do not count either
  int64_t limit = 0;  // requests in all; zero: as many as fit the duration
  Nanos deadline = std::chrono::seconds(30);
  bool one_image = false;  // whatever the mixture says of images in a request
  uint64_t seed = 1;
};
Point Run(const ClosedLoop& load, Target& target, const StopSign& stop);

}  // namespace spatialmamba::loadgen
