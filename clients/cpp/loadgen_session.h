#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clients/cpp/loadgen_point.h"
#include "clients/cpp/loadgen_schedule.h"
#include "clients/cpp/loadgen_target.h"

namespace spatialmamba::loadgen {

// What to measure, in this order.
struct Plan {
  bool service_time = false;   // one caller: the median time of one image on the idle server
  double deadline_factor = 0;  // above 0: every deadline becomes this many service times
  int64_t closed_callers = 0;  // above 0: the offline rate, by so many callers
  std::vector<double> rates;   // of open loops, requests a second
  std::vector<double> loads;   // ... as shares of the offline rate
  bool search = false;         // the highest rate at which `wanted_share` is answered in time
  double wanted_share = 0.99;

  Arrivals arrivals;  // of open loops; the rate is set for each
  Nanos warmup = std::chrono::seconds(2);
  Nanos duration = std::chrono::seconds(30);
  int64_t repeats = 1;  // of each open loop; the one with the median goodput counts
  uint64_t seed = 1;
  Nanos lateness_bound{0};  // 0: 5 ms, or a tenth of the shortest deadline if that is more
};

// Everything that was measured.
struct Report {
  std::string server;
  std::vector<std::string> models;  // "name version variant precision sha256"
  Nanos service_time{0};
  double offline_rate = 0;       // requests a second; 0: not measured
  double highest_rate = 0;       // of the search; 0: not found or not searched
  std::vector<Nanos> deadlines;  // by entry of the mixture
  std::vector<Point> points;
  bool interrupted = false;

  // Whether every open loop kept its schedule.
  bool valid() const;
};

// Runs the plan until it is done or `stop` goes up. `on_point` sees each point when it is finished,
// `on_step` what begins.
struct Progress {
  std::function<void(const std::string& step)> on_step;
  std::function<void(const Report& so_far, const Point& point)> on_point;
};
Report Measure(const Plan& plan, Target& target, const StopSign& stop, const Progress& progress);

}  // namespace spatialmamba::loadgen
