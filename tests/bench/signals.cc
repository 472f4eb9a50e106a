#include "tests/bench/signals.h"

namespace spatialmamba::simulation {
namespace {

constexpr double kMinute = 60;

template <typename Read>
double Sum(const std::vector<const Scraped*>& targets, const Read& read) {
  double sum = 0;
  for (const Scraped* one : targets) sum += read(*one);
  return sum;
}

double TotalRate(const Observed& observed, double Sample::*counter) {
  return Sum(observed.all,
             [&](const Scraped& one) { return one.Rate(counter, observed.now, kMinute); });
}

double TotalInFlight(const Observed& observed) {
  return Sum(observed.all, [&](const Scraped& one) {
    return one.Average(&Sample::in_flight, observed.now, kMinute);
  });
}

double QueueTime(const Observed& observed) {
  constexpr double kWindow = 120;
  decltype(Sample::waits) counts{};
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = Sum(observed.all,
                    [&](const Scraped& one) { return one.RateOfWaits(i, observed.now, kWindow); });
  }
  return Quantile(0.9, counts);
}

int WantedByCpu(double target, double tolerance, const Observed& observed) {
  // A little more than two scrapes, so that there are always two.
  constexpr double kWindow = 30 + 1e-6;
  const double sum = Sum(observed.ready, [&](const Scraped& one) {
    return one.Rate(&Sample::busy, observed.now, kWindow);
  });
  const Pods pods{.all = observed.pods.all, .ready = static_cast<int>(observed.ready.size())};
  return WantedByUtilization(pods.ready == 0 ? 0 : sum / pods.ready, target, pods, tolerance);
}

}  // namespace

const char* NameOf(Signal signal) {
  switch (signal) {
    case Signal::kOffered:
      return "offered load";
    case Signal::kCpu:
      return "CPU";
    case Signal::kGpuUtilisation:
      return "GPU utilisation";
    case Signal::kQueueTime:
      return "queue time";
    case Signal::kInFlight:
      return "in flight";
  }
  return "";
}

int WantedBy(Signal signal, double target, double tolerance, const Observed& observed) {
  const auto by_total = [&](double total) {
    return WantedByAverageValue(total, target, observed.pods, tolerance);
  };
  switch (signal) {
    case Signal::kOffered:
      return by_total(TotalRate(observed, &Sample::offered));
    case Signal::kCpu:
      return WantedByCpu(target, tolerance, observed);
    case Signal::kGpuUtilisation:
      return by_total(TotalRate(observed, &Sample::busy));
    case Signal::kQueueTime:
      return WantedByValue(QueueTime(observed), target, observed.pods, tolerance);
    case Signal::kInFlight:
      return by_total(TotalInFlight(observed));
  }
  return observed.pods.all;
}

}  // namespace spatialmamba::simulation
