#pragma once

#include <cstdint>
#include <span>

#include "batching/clock.h"
#include "batching/cost_model.h"
#include "batching/task.h"

namespace spatialmamba {

// Bounds of one batch; each is exceeded only by an image that would exceed it alone.
struct BatchLimits {
  int64_t images = 1;
  int64_t pixels = 0;               // of network input; 0: no bound
  Duration time = Duration::max();  // of the device
  // An image has to be done so long before its deadline: what an answer takes from there, and what
  // predictions miss by.
  Duration margin = Duration::zero();
};

// An image that could be part of the next batch.
struct Candidate {
  int64_t pixels = 0;
  TimePoint arrival;
  TimePoint deadline = TimePoint::max();
};

// Which of the candidates (earliest deadline first) make the next batch: after the first `late` and
// `shed`, the next `take`.
struct BatchPlan {
  int64_t late = 0;  // can no longer meet their deadline, even on an undisturbed device
  int64_t shed = 0;  // would force a batch too small for the load
  int64_t take = 0;
  int64_t pixels = 0;  // of those taken
  CloseCause cause = CloseCause::kIdle;
};

// The largest batch whose predicted finish meets the deadline of its most urgent image. Under
// backlog, images that would force a batch below half the sustainable size are given up for those
// behind them (`shed`): otherwise each batch is only as large as its nearly late head allows, work
// is done at the worst rate just when the load is highest, and every head is nearly late. The
// sustainable size is the one at which a request waits for one batch and runs in the next within
// its deadline: ((deadline - fixed) / time of an image) / 2. Nothing is given up if the
// batch is nearly as efficient, or if there is time for everything in such batches. Pure.
BatchPlan PlanBatch(std::span<const Candidate> candidates, const CostModel& cost,
                    const BatchLimits& limits, TimePoint now);

// The time after which a batch does not grow any more: past thirty times the fixed part, a larger
// batch raises throughput by under 4 % and only delays. Duration::max() without a profile.
Duration LongestUsefulBatch(const CostModel& cost);

}  // namespace spatialmamba
