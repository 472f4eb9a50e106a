#pragma once

#include <cstdint>

#include "batching/clock.h"

namespace spatialmamba {

// Device time of a batch: fixed + per_pixel * pixels. Pixels decide, not images. Profiled before
// serving and refined while serving: it follows a machine that has become slower within a dozen
// batches, and one that is faster than its profile (which was taken in a bad moment) only within a
// few hundred, so that a lucky moment does not admit what cannot be done. Not thread-safe.
class CostModel {
 public:
  // Nothing is known: everything is predicted to take no time, so nothing is refused for it.
  CostModel() = default;

  void SetProfile(Duration fixed, double seconds_per_pixel);
  bool profiled() const { return profiled_; }

  // A batch of that many pixels has taken that long.
  void Observe(int64_t pixels, Duration taken);

  Duration Predict(int64_t pixels) const;
  // What an undisturbed device takes.
  Duration PredictAtBest(int64_t pixels) const;
  // Share of the device's time that these pixels take in a well-filled batch: without the fixed
  // part.
  Duration PredictShare(int64_t pixels) const;

 private:
  bool profiled_ = false;
  double fixed_ = 0;      // seconds
  double per_pixel_ = 0;  // seconds
  // Against the profile: an undisturbed device, and of late (which is not below it).
  double best_ = 1;
  double of_late_ = 1;
};

}  // namespace spatialmamba
