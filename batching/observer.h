#pragma once

#include <cstdint>

#include "batching/clock.h"
#include "batching/task.h"

namespace spatialmamba {

enum class RefusalReason {
  kQueueFull,   // no place for its images or bytes
  kOverloaded,  // would miss its deadline because of the load
  kDeadline,    // its deadline has passed or cannot be met even by an idle device
  kDraining,
};

// Hears everything that the batcher decides. Called outside the batcher's lock, from any thread,
// must not block.
class BatchObserver {
 public:
  virtual ~BatchObserver() = default;
  // A request came: `images` of it cost `predicted` device time, whether admitted or refused
  // afterwards.
  virtual void OnOffered(int model, int64_t images, Duration predicted) = 0;
  virtual void OnRefused(int model, int64_t images, RefusalReason reason) = 0;
  // A task that was admitted never ran, which saved `predicted` device time.
  virtual void OnDropped(int model, DropReason reason, Duration predicted) = 0;
  virtual void OnBatchStarted(const Batch& batch, TimePoint now) = 0;
  virtual void OnBatchFinished(int model, int device, int64_t images, Duration busy) = 0;
};

}  // namespace spatialmamba
