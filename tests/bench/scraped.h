#pragma once

#include <array>
#include <cstddef>
#include <deque>

namespace spatialmamba::simulation {

// Bounds of the histogram of queue waits, in seconds; above the last: infinity.
inline constexpr std::array kWaitBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                           0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                           1.0,    2.5,     5.0,    10.0};

// What one target of Prometheus says at a scrape: of the server's metrics those that could scale
// it.
struct Sample {
  double at = 0;         // seconds
  double offered = 0;    // counter: predicted device time of what arrived
  double busy = 0;       // counter: device time used
  double in_flight = 0;  // gauge
  std::array<double, kWaitBounds.size() + 1> waits{};  // counters: images by wait, not cumulative
};

// The samples that a range selector sees.
class Scraped {
 public:
  void Add(const Sample& sample);
  // True: nothing of it is within the window any more.
  bool IsOlderThan(double at) const { return samples_.empty() || samples_.back().at <= at; }

  // Prometheus's rate() of a counter over the window that ends now, extrapolated as it does; 0 with
  // fewer than two samples.
  double Rate(double Sample::*counter, double now, double window) const;
  double RateOfWaits(size_t bucket, double now, double window) const;
  // avg_over_time(); 0 without a sample.
  double Average(double Sample::*gauge, double now, double window) const;

 private:
  template <typename Read>
  double RateOf(const Read& read, double now, double window) const;

  std::deque<Sample> samples_;
};

// histogram_quantile() of counts that are not cumulative; 0 where there are none.
double Quantile(double share, const std::array<double, kWaitBounds.size() + 1>& counts);

}  // namespace spatialmamba::simulation
