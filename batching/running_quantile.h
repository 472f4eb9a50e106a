#pragma once

#include <cmath>

namespace spatialmamba {

// A quantile of values that come one by one, followed without keeping them: each value above it
// moves it up by a step times `share`, each below it down by a step times the rest, so that it
// rests where that share lies below. The step is a tenth of the usual distance, so that it finds
// its place within some dozen values and follows if it moves. Not thread-safe.
class RunningQuantile {
 public:
  explicit RunningQuantile(double share) : share_(share) {}

  void Observe(double value) {
    const double distance = std::abs(value - quantile_);
    distance_ = distance_ == 0 ? distance : distance_ + 0.02 * (distance - distance_);
    const double step = 0.1 * distance_;
    quantile_ += value > quantile_ ? step * share_ : -step * (1 - share_);
  }

  double value() const { return quantile_; }  // 0 at first

 private:
  const double share_;
  double quantile_ = 0;
  double distance_ = 0;
};

}  // namespace spatialmamba
