#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/functional/function_ref.h"

namespace spatialmamba {

using Duration = std::chrono::steady_clock::duration;
using TimePoint = std::chrono::steady_clock::time_point;

// The seam for time. It owns waiting, not only now, so that tests run in virtual time without a
// sleep.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  // Waits until `ready()` is true or `deadline` has come; returns ready(). `ready` is called with
  // the lock held. TimePoint::max() waits without a limit.
  virtual bool WaitUntil(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                         TimePoint deadline, absl::FunctionRef<bool()> ready) = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint Now() const override;
  bool WaitUntil(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                 TimePoint deadline, absl::FunctionRef<bool()> ready) override;
};

}  // namespace spatialmamba
