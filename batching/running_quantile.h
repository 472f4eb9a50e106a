#pragma once

#include <algorithm>
#include <cmath>

namespace spatialmamba {

// A quantile of values that come one by one, followed without keeping them: each value above it
// moves it up by a step times `share`, each below it down by a step times the rest, so that it
// rests where that share lies below. The step is a tenth of the usual distance, so that it finds
// its place within some dozen values and follows if it moves; a value that is much farther away (a
// stall of the machine) counts as four times as far. Not thread-safe.
class RunningQuantile {
 public:
  explicit RunningQuantile(double share) : share_(share) {}

  void Observe(double value) {
    double distance = std::abs(value - quantile_);
    if (distance_ > 0) distance = std::min(distance, kFarthest * distance_);
    distance_ = distance_ == 0 ? distance : distance_ + 0.02 * (distance - distance_);
    const double step = 0.1 * distance_;
    quantile_ += value > quantile_ ? step * share_ : -step * (1 - share_);
  }

  double value() const { return quantile_; }  // 0 at first

 private:
  static constexpr double kFarthest = 4;

  const double share_;
  double quantile_ = 0;
  double distance_ = 0;
};

}  // namespace spatialmamba
