#include <sys/prctl.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <queue>
#include <utility>

#include "clients/cpp/loadgen_point.h"

namespace spatialmamba::loadgen {
namespace {

// The calls that their callers will hang up on, by instant.
class HangUps {
 public:
  void Add(TimePoint at, std::shared_ptr<Call> call) { queue_.push({at, std::move(call)}); }

  // Cancels what is due until `instant`, each at its time. Returns false if told to stop.
  bool CancelUntil(TimePoint instant, const StopSign& stop) {
    while (!queue_.empty() && queue_.top().at <= instant) {
      if (!stop.SleepUntil(queue_.top().at)) {
        return false;
      }
      queue_.top().call->Cancel();
      queue_.pop();
    }
    return true;
  }

 private:
  struct Item {
    TimePoint at;
    std::shared_ptr<Call> call;
    bool operator<(const Item& other) const { return at > other.at; }  // the earliest on top
  };
  std::priority_queue<Item> queue_;
};

class OpenLoopRun {
 public:
  OpenLoopRun(const OpenLoop& load, Target& target, const StopSign& stop)
      : load_(load), target_(target), stop_(stop), caller_(target) {
    point_ = {.label = load.label,
              .arrivals = ArrivalName(load.arrivals.kind),
              .rate = load.arrivals.rate,
              .seed = load.seed,
              .measured = load.duration,
              .entries = std::vector<Tally>(target.mix().size()),
              .lateness_bound = load.lateness_bound};
  }

  Point Run() {
    const std::vector<Shot> shots =
        DrawSchedule(load_.arrivals, target_.mix(), load_.warmup + load_.duration, load_.seed);
    prctl(PR_SET_TIMERSLACK, 1UL);  // the default wakes up to 50 us later
    // A moment for the first sleep, so that the first request is not late.
    start_ = Clock::now() + std::chrono::milliseconds(5);
    for (const Shot& shot : shots) {
      const TimePoint due = start_ + shot.at;
      if (!hang_ups_.CancelUntil(due, stop_) || !stop_.SleepUntil(due)) {
        point_.complete = false;
        break;
      }
      Send(shot, due);
    }
    const TimePoint end = start_ + load_.warmup + load_.duration;
    if (point_.complete && !(hang_ups_.CancelUntil(end, stop_) && stop_.SleepUntil(end))) {
      point_.complete = false;
    }
    if (!point_.complete) {
      point_.measured = std::max(Nanos::zero(), Clock::now() - start_ - load_.warmup);
    }
    hang_ups_.CancelUntil(TimePoint::max(), stop_);
    caller_.AwaitIdle();
    return std::move(point_);
  }

 private:
  void Send(const Shot& shot, TimePoint due) {
    const MixEntry& entry = target_.mix()[shot.entry];
    const bool counts = shot.at >= load_.warmup;
    if (counts) {
      const auto lateness = Clock::now() - due;
      point_.lateness.Record(std::chrono::round<std::chrono::microseconds>(lateness).count());
    }
    auto call = caller_.Start(
        {.entry = shot.entry,
         .pick = shot.pick,
         .images = entry.images_per_request,
         .until = due + entry.deadline},
        [this, shot, due, counts, deadline = entry.deadline, images = entry.images_per_request](
            const grpc::Status& status, TimePoint finished) {
          if (!counts) {
            return;
          }
          const std::lock_guard lock(mutex_);
          point_.entries[shot.entry].Count({.status = status,
                                            .latency = finished - due,
                                            .deadline = deadline,
                                            .images = images,
                                            .hung_up = shot.cancel});
        });
    if (shot.cancel) {
      hang_ups_.Add(due + entry.cancel_after, std::move(call));
    }
  }

  const OpenLoop& load_;
  Target& target_;
  const StopSign& stop_;
  TimePoint start_;
  HangUps hang_ups_;
  std::mutex mutex_;
  Point point_;    // its entries are guarded by mutex_ while calls are under way
  Caller caller_;  // last: its end waits for the calls, which use the others
};

}  // namespace

Point Run(const OpenLoop& load, Target& target, const StopSign& stop) {
  return OpenLoopRun(load, target, stop).Run();
}

}  // namespace spatialmamba::loadgen
