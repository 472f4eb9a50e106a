#include "batching/forecast.h"

#include <algorithm>
#include <utility>

namespace spatialmamba {

std::optional<size_t> LeastSlack(std::span<const QueueHead> heads) {
  std::optional<size_t> best;
  std::pair<TimePoint, TimePoint> best_rank;
  for (size_t i = 0; i < heads.size(); ++i) {
    const std::optional<Candidate>& first = heads[i].first;
    if (!first) continue;
    const TimePoint start = first->deadline == TimePoint::max()
                                ? first->deadline
                                : first->deadline - heads[i].cost->Predict(first->pixels);
    const std::pair rank(start, first->arrival);
    if (best && best_rank <= rank) continue;
    best = i;
    best_rank = rank;
  }
  return best;
}

std::vector<std::vector<TimePoint>> Forecast(std::span<const ForecastQueue> queues,
                                             std::vector<TimePoint> free) {
  std::vector<std::vector<TimePoint>> finish;
  std::vector<std::span<const Candidate>> left;
  for (const ForecastQueue& queue : queues) {
    finish.emplace_back(queue.images.size(), TimePoint::max());
    left.emplace_back(queue.images);
  }
  std::vector<QueueHead> heads(queues.size());
  for (;;) {
    for (size_t i = 0; i < queues.size(); ++i) {
      heads[i] = {left[i].empty() ? std::nullopt : std::optional(left[i].front()), queues[i].cost};
    }
    const std::optional<size_t> next = LeastSlack(heads);
    if (!next) return finish;
    const ForecastQueue& queue = queues[*next];
    TimePoint& device = *std::min_element(free.begin(), free.end());
    const BatchPlan plan = PlanBatch(left[*next], *queue.cost, queue.limits, device);
    left[*next] = left[*next].subspan(static_cast<size_t>(plan.late + plan.shed));
    if (plan.take == 0) continue;
    device += queue.cost->Predict(plan.pixels);
    const size_t first = queue.images.size() - left[*next].size();
    for (size_t i = 0; i < static_cast<size_t>(plan.take); ++i) finish[*next][first + i] = device;
    left[*next] = left[*next].subspan(static_cast<size_t>(plan.take));
  }
}

}  // namespace spatialmamba
