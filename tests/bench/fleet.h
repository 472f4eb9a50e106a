#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/bench/autoscaler.h"
#include "tests/bench/signals.h"
#include "tests/bench/simulation.h"

namespace spatialmamba::simulation {

// A Deployment in virtual time: arrivals go round robin to the ready replicas, each of them the
// server's own policy with one device; Prometheus scrapes them; an autoscaler looks at what
// Prometheus has and makes or ends replicas. Callers do not retry. Balancers see at once which
// replicas are ready.

// Requests a second over time, for `seconds`.
struct Pattern {
  std::string name;
  double seconds = 0;
  double highest = 0;
  std::function<double(double)> rate;
  double counted_from = 0;  // what is before is not counted: the fleet starts with the fewest pods
};

struct FleetOptions {
  Scenario scenario;
  ScalingRules rules;
  Signal signal = Signal::kOffered;
  double target = 0.6;   // of the signal, for a pod
  double start_up = 30;  // seconds from the decision until a pod is ready
  double scrape = 15;    // seconds
  uint64_t seed = 1;
};

// What happened within some seconds.
struct Interval {
  double at = 0;  // its begin
  int64_t offered = 0;
  int64_t in_time = 0;  // of those
  int64_t refused = 0;
  double replicas = 0;  // mean; starting and ending ones count, for they cost
};

struct FleetResult {
  std::vector<Interval> intervals;  // of kInterval seconds, from the start
  Tally all;                        // from Pattern::counted_from on
  double replica_seconds = 0;       // likewise
  double mean_replicas = 0;
  int most_replicas = 0;

  double in_time_share() const {
    return static_cast<double>(all.in_time) / static_cast<double>(all.offered);
  }
  // Seconds from `at` until the first minute in which 99 % are answered in time; below zero: never
  // before `end`.
  double Recovery(double at, double end) const;
};

inline constexpr double kInterval = 5;

FleetResult RunFleet(const FleetOptions& options, const Pattern& pattern);

}  // namespace spatialmamba::simulation
