#pragma once

#include <optional>
#include <span>
#include <vector>

#include "batching/batch_plan.h"
#include "batching/clock.h"
#include "batching/cost_model.h"

namespace spatialmamba {

// A model's queue as a forecast sees it: everything in it counts as ready.
struct ForecastQueue {
  const CostModel* cost = nullptr;
  BatchLimits limits;
  std::vector<Candidate> images;  // earliest deadline first
};

// When each image is done if nothing more comes, queue by queue in the order of `images`; max() if
// it is given up. The batches are those that the policy would form: `free` holds when each device
// is free, the queue with the least slack goes first, and batch_plan.h decides how much of it.
// Pure; linear in the number of images.
std::vector<std::vector<TimePoint>> Forecast(std::span<const ForecastQueue> queues,
                                             std::vector<TimePoint> free);

// The queue (of those whose `first` image is set) that a free device serves next: the one with the
// least slack, which is the moment at which its most urgent image has to start; among equals the
// one whose image has waited longest. Slack shrinks while an image waits, so no model starves
// another. Nothing if all are empty.
struct QueueHead {
  std::optional<Candidate> first;
  const CostModel* cost = nullptr;
};
std::optional<size_t> LeastSlack(std::span<const QueueHead> heads);

}  // namespace spatialmamba
