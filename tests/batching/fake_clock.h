#pragma once

#include <algorithm>
#include <mutex>
#include <vector>

#include "batching/clock.h"

namespace spatialmamba {

// Time that moves only by Advance, which wakes whoever waits for it.
class FakeClock final : public Clock {
 public:
  TimePoint Now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  bool WaitUntil(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                 TimePoint deadline, absl::FunctionRef<bool()> ready) override {
    const Waiter self{lock.mutex(), &changed};
    {
      const std::lock_guard own(mutex_);
      waiters_.push_back(self);
    }
    while (!ready() && Now() < deadline) changed.wait(lock);
    const bool result = ready();
    {
      const std::lock_guard own(mutex_);
      waiters_.erase(std::find(waiters_.begin(), waiters_.end(), self));
    }
    return result;
  }

  void Advance(Duration by) {
    std::vector<Waiter> waiters;
    {
      const std::lock_guard lock(mutex_);
      now_ += by;
      waiters = waiters_;
    }
    for (const Waiter& waiter : waiters) {
      { const std::lock_guard between_check_and_wait(*waiter.mutex); }
      waiter.changed->notify_all();
    }
  }

 private:
  struct Waiter {
    std::mutex* mutex;
    std::condition_variable* changed;
    bool operator==(const Waiter&) const = default;
  };

  mutable std::mutex mutex_;
  TimePoint now_{std::chrono::hours(1)};
  std::vector<Waiter> waiters_;
};

}  // namespace spatialmamba
