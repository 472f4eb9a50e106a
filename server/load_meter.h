#pragma once

#include <mutex>
#include <string>

#include "batching/clock.h"

namespace spatialmamba {

// How busy the server is of late, for load balancers that weigh servers by it: rates whose past
// fades with a time constant of some seconds. Thread-safe.
class LoadMeter {
 public:
  LoadMeter(Clock& clock, int devices) : clock_(clock), devices_(devices), begun_(clock.Now()) {}

  void CountBusy(Duration busy);  // of one device
  void CountRequest(bool failed);

  // An xds.data.orca.v3.OrcaLoadReport, serialised. Utilisation is the duty cycle of the devices.
  std::string Report() const;

 private:
  // Events, or seconds, a second.
  struct Rate {
    double sum = 0;
    TimePoint at;
    void Add(double amount, TimePoint now);
    double Value(TimePoint now, TimePoint begun) const;
  };

  Clock& clock_;
  const int devices_;
  const TimePoint begun_;
  mutable std::mutex mutex_;  // guards what follows
  Rate busy_;
  Rate requests_;
  Rate errors_;
};

}  // namespace spatialmamba
