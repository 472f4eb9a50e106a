#pragma once

#include <cstdint>

#include "batching/clock.h"
#include "batching/task.h"

namespace spatialmamba {

enum class RefusalReason {
  kQueueFull,   // no place for its images or bytes
  kOverloaded,  // would miss its deadline, or make others miss theirs, because of the load
  kDeadline,    // its deadline has passed or cannot be met even by an idle device
  kDraining,
};

// A batch that has run.
struct BatchReport {
  int model = 0;
  int device = 0;
  int64_t images = 0;  // that were executed: those that nobody waited for at their start were not
  bool whole = true;   // all of the batch were executed
  Duration predicted = Duration::zero();
  Duration busy = Duration::zero();
};

// Hears everything that the batcher decides. Called outside the batcher's lock, from any thread,
// must not block.
class BatchObserver {
 public:
  virtual ~BatchObserver() = default;
  // A request came: its `images` are `predicted` device time of load, whether admitted or refused
  // afterwards.
  virtual void OnOffered(int model, int64_t images, Duration predicted) = 0;
  virtual void OnRefused(int model, int64_t images, RefusalReason reason) = 0;
  // A task that was admitted never ran, which saved `predicted` device time.
  virtual void OnDropped(int model, DropReason reason, Duration predicted) = 0;
  virtual void OnBatchStarted(const Batch& batch, TimePoint now) = 0;
  virtual void OnBatchFinished(const BatchReport& report) = 0;
};

}  // namespace spatialmamba
