#include "batching/clock.h"

namespace spatialmamba {

TimePoint SteadyClock::Now() const { return std::chrono::steady_clock::now(); }

bool SteadyClock::WaitUntil(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                            TimePoint deadline, absl::FunctionRef<bool()> ready) {
  const auto predicate = [&] { return ready(); };
  if (deadline == TimePoint::max()) {  // some standard libraries overflow on it
    changed.wait(lock, predicate);
    return true;
  }
  return changed.wait_until(lock, deadline, predicate);
}

}  // namespace spatialmamba
