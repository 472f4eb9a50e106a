#pragma once

#include <vector>

#include "tests/bench/autoscaler.h"
#include "tests/bench/scraped.h"

namespace spatialmamba::simulation {

// What a fleet can be scaled by.
enum class Signal {
  kOffered,         // sum(rate(spatialmamba_offered_device_seconds_total[1m])), AverageValue
  kCpu,             // CPU use of pods whose devices are CPUs, of 30 s, Utilization
  kGpuUtilisation,  // the share of a minute in which the device computes, summed, AverageValue
  kQueueTime,       // 90th percentile of the queue wait over 2 min, Value
  kInFlight,        // requests in flight, mean of a minute, summed, AverageValue
};
inline constexpr Signal kSignals[] = {Signal::kOffered, Signal::kCpu, Signal::kGpuUtilisation,
                                      Signal::kQueueTime, Signal::kInFlight};
const char* NameOf(Signal signal);

// What Prometheus knows when the autoscaler looks.
struct Observed {
  double now = 0;
  Pods pods;
  std::vector<const Scraped*> all;    // also of pods that have ended, whose samples still count
  std::vector<const Scraped*> ready;  // of pods whose CPU use is known
};

// The replicas that a signal wants, of which a pod is to have `target`.
int WantedBy(Signal signal, double target, double tolerance, const Observed& observed);

}  // namespace spatialmamba::simulation
