#include "batching/batch_plan.h"

#include <algorithm>

namespace spatialmamba {
namespace {

constexpr int64_t kUsefulMultipleOfFixed = 30;
// Giving up an image pays only where the larger batch is more efficient by a tenth and more.
constexpr double kWorthwhile = 0.9;

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

TimePoint Later(TimePoint time, Duration by) {
  return time > TimePoint::max() - by ? TimePoint::max() : time + by;
}

// The batch that starts with candidates[0].
BatchPlan Grow(std::span<const Candidate> candidates, const CostModel& cost,
               const BatchLimits& limits, TimePoint now) {
  BatchPlan plan;
  for (const Candidate& next : candidates) {
    const int64_t pixels = plan.pixels + next.pixels;
    if (plan.take > 0) {
      const Duration taken = cost.Predict(pixels);
      const bool full = plan.take >= limits.images ||
                        (limits.pixels > 0 && pixels > limits.pixels) || taken > limits.time;
      const bool late = Later(now, taken + limits.margin) > candidates[0].deadline;
      if (full || late) {
        plan.cause = full ? CloseCause::kFull : CloseCause::kDeadline;
        return plan;
      }
    }
    plan.pixels = pixels;
    ++plan.take;
  }
  plan.cause = plan.take >= limits.images ? CloseCause::kFull : CloseCause::kIdle;
  return plan;
}

// Whether a batch is so small that its head is not worth the throughput which it costs.
bool TooSmall(const BatchPlan& plan, std::span<const Candidate> candidates, const CostModel& cost,
              const BatchLimits& limits, TimePoint now) {
  if (plan.cause != CloseCause::kDeadline) return false;
  const Candidate& head = candidates.front();
  // If there is time for everything in batches of this size, nothing needs to be given up.
  int64_t pixels = 0;
  for (const Candidate& one : candidates) pixels += one.pixels;
  const int64_t batches = (static_cast<int64_t>(candidates.size()) + plan.take - 1) / plan.take;
  const Duration all = cost.Predict(0) * batches + cost.PredictShare(pixels);
  if (Later(now, all + limits.margin) <= candidates.back().deadline) return false;
  const double fixed = Seconds(cost.Predict(0));
  const double image = Seconds(cost.PredictShare(plan.pixels)) / static_cast<double>(plan.take);
  if (image <= 0) return false;
  const double sustainable = std::min((Seconds(head.deadline - head.arrival) - fixed) / image / 2,
                                      static_cast<double>(limits.images));
  const double half = sustainable / 2;
  const auto size = static_cast<double>(plan.take);
  if (size >= half) return false;
  const double rate = size / (fixed + size * image);
  const double rate_of_half = half / (fixed + half * image);
  return rate < kWorthwhile * rate_of_half;
}

}  // namespace

BatchPlan PlanBatch(std::span<const Candidate> candidates, const CostModel& cost,
                    const BatchLimits& limits, TimePoint now) {
  int64_t late = 0;
  int64_t shed = 0;
  while (!candidates.empty()) {
    const Candidate& head = candidates[0];
    if (Later(now, cost.PredictAtBest(head.pixels)) > head.deadline) {
      ++(shed == 0 ? late : shed);
      candidates = candidates.subspan(1);
      continue;
    }
    BatchPlan plan = Grow(candidates, cost, limits, now);
    if (!TooSmall(plan, candidates, cost, limits, now)) {
      plan.late = late;
      plan.shed = shed;
      return plan;
    }
    ++shed;
    candidates = candidates.subspan(1);
  }
  return {.late = late, .shed = shed};
}

Duration LongestUsefulBatch(const CostModel& cost) {
  const Duration fixed = cost.Predict(0);
  if (!cost.profiled() || fixed > Duration::max() / kUsefulMultipleOfFixed) return Duration::max();
  return fixed * kUsefulMultipleOfFixed;
}

}  // namespace spatialmamba
