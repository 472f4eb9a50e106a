#include "batching/cost_model.h"

#include <algorithm>

namespace spatialmamba {
namespace {

// Weight of one batch in the running estimate, and how far one batch can pull it: a stalled machine
// is no slower model.
constexpr double kWeight = 0.1;
constexpr double kLargestRatio = 4;
// Of a batch that was faster than all that is known.
constexpr double kWeightOfFaster = 0.01;
constexpr double kLeastRatio = 0.25;

Duration Seconds(double seconds) {
  return std::chrono::round<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

void CostModel::SetProfile(Duration fixed, double seconds_per_pixel) {
  profiled_ = true;
  fixed_ = std::max(0.0, std::chrono::duration<double>(fixed).count());
  per_pixel_ = std::max(0.0, seconds_per_pixel);
  best_ = 1;
  of_late_ = 1;
}

void CostModel::Observe(int64_t pixels, Duration taken) {
  const double expected = fixed_ + per_pixel_ * static_cast<double>(pixels);
  if (!profiled_ || expected <= 0) return;
  const double ratio = std::chrono::duration<double>(taken).count() / (expected * best_);
  const double counted = std::clamp(ratio, kLeastRatio, kLargestRatio) * best_;
  if (counted < best_) best_ += kWeightOfFaster * (counted - best_);
  of_late_ += kWeight * (counted - of_late_);
  of_late_ = std::max(of_late_, best_);
}

Duration CostModel::Predict(int64_t pixels) const {
  return Seconds(of_late_ * (fixed_ + per_pixel_ * static_cast<double>(pixels)));
}

Duration CostModel::PredictAtBest(int64_t pixels) const {
  return Seconds(best_ * (fixed_ + per_pixel_ * static_cast<double>(pixels)));
}

Duration CostModel::PredictShare(int64_t pixels) const {
  return Seconds(of_late_ * per_pixel_ * static_cast<double>(pixels));
}

}  // namespace spatialmamba
