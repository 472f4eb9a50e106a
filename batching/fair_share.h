#pragma once

#include <cstdint>
#include <map>

#include "batching/clock.h"

namespace spatialmamba {

// Keeps room for others. Several parties (callers, or models) share devices; each has a demand, the
// device time that it offered of late per second, and what it holds now, the device time of its
// admitted and unfinished work. A party that wants more than its equal part of a window must leave
// free what the others are about to ask for, which is their demand, but no more than their equal
// part. So one that floods the server cannot take the room of the rest, and a party that is alone,
// or among parties that ask for little, can use everything. (Max-min fairness, by reservation.)
// Not thread-safe; `now` never goes back.
class FairShare {
 public:
  // Work that was offered, whether it is admitted or not.
  void Offer(uint64_t party, Duration work, TimePoint now);
  void Hold(uint64_t party, Duration work);
  void Release(uint64_t party, Duration work);

  // Device time that all parties together offered of late per second.
  double Demand(TimePoint now) const;

  // Of a window of `devices` x `window` device time, what `party` has to leave to others if it
  // wants `work` more. Zero while it stays within its equal part.
  Duration Reserved(uint64_t party, Duration work, Duration window, int devices,
                    TimePoint now) const;

 private:
  struct Party {
    double offered = 0;  // seconds of device time, what is past weighing ever less, at `seen`
    TimePoint first_seen;
    TimePoint seen;
    double held = 0;     // seconds
    double request = 0;  // seconds of its last one
  };
  static bool Active(const Party& party, TimePoint now);
  // Seconds of device time per second.
  static double DemandOf(const Party& party, TimePoint now);
  void Forget(TimePoint now);

  std::map<uint64_t, Party> parties_;
  TimePoint next_cleaning_;
};

}  // namespace spatialmamba
