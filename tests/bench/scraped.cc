#include "tests/bench/scraped.h"

#include <algorithm>
#include <numeric>

namespace spatialmamba::simulation {
namespace {

constexpr double kKept = 300;  // seconds; no window here is longer

}  // namespace

void Scraped::Add(const Sample& sample) {
  samples_.push_back(sample);
  while (samples_.front().at < sample.at - kKept) samples_.pop_front();
}

template <typename Read>
double Scraped::RateOf(const Read& read, double now, double window) const {
  // Left-open, as since Prometheus 3.
  const auto begin = std::find_if(samples_.begin(), samples_.end(),
                                  [&](const Sample& one) { return one.at > now - window; });
  if (samples_.end() - begin < 2) return 0;
  const Sample& first = *begin;
  const Sample& last = samples_.back();
  const double sampled = last.at - first.at;
  const double between = sampled / static_cast<double>(samples_.end() - begin - 1);
  const double increase = read(last) - read(first);
  // Up to the ends of the window if they are near; else by half a scrape, for there it began or
  // ended. Not to before the counter was zero.
  const auto gap = [&](double to) { return to >= 1.1 * between ? between / 2 : to; };
  double before = gap(first.at - (now - window));
  if (increase > 0) before = std::min(before, sampled * read(first) / increase);
  return increase * (sampled + before + gap(now - last.at)) / sampled / window;
}

double Scraped::Rate(double Sample::*counter, double now, double window) const {
  return RateOf([counter](const Sample& one) { return one.*counter; }, now, window);
}

double Scraped::RateOfWaits(size_t bucket, double now, double window) const {
  return RateOf([bucket](const Sample& one) { return one.waits[bucket]; }, now, window);
}

double Scraped::Average(double Sample::*gauge, double now, double window) const {
  double sum = 0;
  int count = 0;
  for (const Sample& one : samples_) {
    if (one.at <= now - window) continue;
    sum += one.*gauge;
    ++count;
  }
  return count == 0 ? 0 : sum / count;
}

double Quantile(double share, const std::array<double, kWaitBounds.size() + 1>& counts) {
  const double rank = share * std::accumulate(counts.begin(), counts.end(), 0.0);
  double below = 0;
  for (size_t i = 0; i < kWaitBounds.size(); ++i) {
    if (counts[i] > 0 && below + counts[i] >= rank) {
      const double lower = i == 0 ? 0 : kWaitBounds[i - 1];
      return lower + (kWaitBounds[i] - lower) * (rank - below) / counts[i];
    }
    below += counts[i];
  }
  return below + counts.back() > 0 ? kWaitBounds.back() : 0;
}

}  // namespace spatialmamba::simulation
