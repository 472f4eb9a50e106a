#include "clients/cpp/loadgen_point.h"

#include <algorithm>
#include <thread>

namespace spatialmamba::loadgen {

bool StopSign::SleepUntil(TimePoint instant) const {
  constexpr auto kLongestNap = std::chrono::milliseconds(50);
  while (!up()) {
    const TimePoint now = Clock::now();
    if (now >= instant) {
      return true;
    }
    std::this_thread::sleep_until(std::min(instant, now + kLongestNap));
  }
  return false;
}

Tally Point::total() const {
  Tally total;
  for (const Tally& entry : entries) {
    total.Merge(entry);
  }
  return total;
}

double Point::goodput() const {
  int64_t in_time = 0;
  for (const Tally& entry : entries) {
    in_time += entry.of(OutcomeKind::kInTime);
  }
  const double seconds = std::chrono::duration<double>(measured).count();
  return seconds > 0.0 ? static_cast<double>(in_time) / seconds : 0.0;
}

double Point::offered() const {
  int64_t sent = 0;
  for (const Tally& entry : entries) {
    sent += entry.sent();
  }
  const double seconds = std::chrono::duration<double>(measured).count();
  return seconds > 0.0 ? static_cast<double>(sent) / seconds : 0.0;
}

bool Point::valid() const {
  const auto bound = std::chrono::duration_cast<std::chrono::microseconds>(lateness_bound).count();
  return callers > 0 || lateness.Quantile(0.99) <= bound;
}

}  // namespace spatialmamba::loadgen
