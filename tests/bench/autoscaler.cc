#include "tests/bench/autoscaler.h"

#include <algorithm>
#include <cmath>

namespace spatialmamba::simulation {
namespace {

bool Near(double ratio, double tolerance) { return std::abs(ratio - 1) <= tolerance; }

int RoundedUp(double replicas) { return static_cast<int>(std::ceil(replicas)); }

}  // namespace

int WantedByAverageValue(double total, double target, Pods pods, double tolerance) {
  if (Near(total / (target * pods.all), tolerance)) return pods.all;
  return RoundedUp(total / target);
}

int WantedByValue(double value, double target, Pods pods, double tolerance) {
  const double ratio = value / target;
  return Near(ratio, tolerance) ? pods.all : RoundedUp(ratio * pods.ready);
}

int WantedByUtilization(double mean, double target, Pods pods, double tolerance) {
  const double ratio = mean / target;
  if (pods.ready == 0) return pods.all;
  if (pods.ready == pods.all || ratio <= 1) {
    return Near(ratio, tolerance) ? pods.all : RoundedUp(ratio * pods.ready);
  }
  const double damped = ratio * pods.ready / pods.all;
  if (Near(damped, tolerance) || damped < 1) return pods.all;
  return std::max(pods.all, RoundedUp(damped * pods.all));
}

int Autoscaler::Update(double now, int current, int wanted) {
  int next = Stabilized(now, current, wanted);
  if (next > current) next = std::min({next, MostAllowed(now, current), rules_.max_replicas});
  if (next < current) next = std::max({next, LeastAllowed(now, current), rules_.min_replicas});
  if (next > current) added_.emplace_back(now, next - current);
  if (next < current) removed_.emplace_back(now, current - next);
  return next;
}

// The most that was wanted within the window, if that is less than there are; up at once.
int Autoscaler::Stabilized(double now, int current, int wanted) {
  std::erase_if(wanted_, [&](const auto& one) { return one.first <= now - rules_.down_window; });
  wanted_.emplace_back(now, wanted);
  if (wanted >= current) return wanted;
  int most = wanted;
  for (const auto& [at, one] : wanted_) most = std::max(most, one);
  return std::min(current, most);
}

int Autoscaler::Within(const Changes& changes, double now, double period) {
  int sum = 0;
  for (const auto& [at, count] : changes) sum += at > now - period ? count : 0;
  return sum;
}

int Autoscaler::MostAllowed(double now, int current) const {
  const int before =
      current - Within(added_, now, rules_.up_period) + Within(removed_, now, rules_.up_period);
  const int by_percent = RoundedUp(before * (1 + rules_.up_percent / 100));
  return std::max({current, by_percent, before + rules_.up_pods});
}

int Autoscaler::LeastAllowed(double now, int current) const {
  const int before =
      current - Within(added_, now, rules_.down_period) + Within(removed_, now, rules_.down_period);
  return std::min(current, before - rules_.down_pods);
}

}  // namespace spatialmamba::simulation
