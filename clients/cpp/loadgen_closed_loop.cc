#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <queue>
#include <utility>

#include "clients/cpp/call_error.h"
#include "clients/cpp/loadgen_point.h"

namespace spatialmamba::loadgen {
namespace {

TimePoint ReadyAgain(const grpc::Status& status, TimePoint finished) {
  if (status.ok()) {
    return finished;
  }
  // Without a pause, an unwilling server would be asked as fast as this machine can.
  constexpr auto kPause = std::chrono::milliseconds(20);
  return finished + DescribeFailure(status, "").retry_delay.value_or(kPause);
}

class ClosedLoopRun {
 public:
  ClosedLoopRun(const ClosedLoop& load, Target& target, const StopSign& stop)
      : load_(load), target_(target), stop_(stop), caller_(target) {
    point_ = {.label = load.label,
              .arrivals = "closed",
              .callers = load.callers,
              .seed = load.seed,
              .measured = load.duration,
              .entries = std::vector<Tally>(target.mix().size())};
  }

  Point Run() {
    // Only what each request asks for is used of the schedule, again from its start when it ends.
    const std::vector<Shot> order =
        DrawSchedule({.kind = ArrivalKind::kConstant, .rate = 1000.0}, target_.mix(),
                     std::chrono::seconds(10), load_.seed);
    start_ = Clock::now();
    for (int64_t i = 0; i < load_.callers; ++i) {
      ready_.push(start_);
    }
    for (int64_t number = 0; load_.limit == 0 || number < load_.limit; ++number) {
      if (!AwaitReadyCaller()) {
        break;
      }
      Send(order[static_cast<size_t>(number) % order.size()], number);
    }
    if (stopped_) caller_.CancelAll();  // their deadlines may be far away
    caller_.AwaitIdle();
    const TimePoint now = Clock::now();
    if (stopped_ || load_.limit > 0) {
      point_.complete = !stopped_;
      const TimePoint end = stopped_ ? stopped_at_ : now;
      point_.measured = std::max(Nanos::zero(), end - start_ - load_.warmup);
    }
    return std::move(point_);
  }

 private:
  // Returns false at the end of the measurement or if told to stop.
  bool AwaitReadyCaller() {
    constexpr auto kLongestNap = std::chrono::milliseconds(50);
    const TimePoint end = start_ + load_.warmup + load_.duration;
    std::unique_lock lock(mutex_);
    while (true) {
      const TimePoint now = Clock::now();
      if (stop_.up()) {
        stopped_ = true;
        stopped_at_ = now;
        return false;
      }
      if (now >= end) {
        return false;
      }
      if (!ready_.empty() && ready_.top() <= now) {
        ready_.pop();
        return true;
      }
      TimePoint wake = std::min(end, now + kLongestNap);
      if (!ready_.empty()) {
        wake = std::min(wake, ready_.top());
      }
      changed_.wait_until(lock, wake);
    }
  }

  void Send(const Shot& shot, int64_t number) {
    const int64_t images = load_.one_image ? 1 : target_.mix()[shot.entry].images_per_request;
    const TimePoint sent = Clock::now();
    caller_.Start(
        {.entry = shot.entry, .pick = shot.pick, .images = images, .until = sent + load_.deadline},
        [this, shot, number, images, sent](const grpc::Status& status, TimePoint finished) {
          const std::lock_guard lock(mutex_);
          ready_.push(ReadyAgain(status, finished));
          changed_.notify_one();
          const Nanos at = finished - start_;
          if (stopped_ || number < load_.skip || at < load_.warmup ||
              at > load_.warmup + load_.duration) {
            return;
          }
          point_.entries[shot.entry].Count({.status = status,
                                            .latency = finished - sent,
                                            .deadline = load_.deadline,
                                            .images = images});
        });
  }

  const ClosedLoop& load_;
  Target& target_;
  const StopSign& stop_;
  TimePoint start_;
  bool stopped_ = false;  // guarded by mutex_ while calls are under way
  TimePoint stopped_at_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::priority_queue<TimePoint, std::vector<TimePoint>, std::greater<>> ready_;  // by mutex_
  Point point_;    // its entries are guarded by mutex_ while calls are under way
  Caller caller_;  // last: its end waits for the calls, which use the others
};

}  // namespace

Point Run(const ClosedLoop& load, Target& target, const StopSign& stop) {
  return ClosedLoopRun(load, target, stop).Run();
}

}  // namespace spatialmamba::loadgen
