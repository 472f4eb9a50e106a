#pragma once

#include "batching/observer.h"
#include "server/load_meter.h"
#include "server/metrics.h"

namespace spatialmamba {

// Counts what the batcher decides.
class BatchMetrics final : public BatchObserver {
 public:
  BatchMetrics(Metrics& metrics, LoadMeter& load) : metrics_(metrics), load_(load) {}

  void OnOffered(int model, int64_t images, Duration predicted) override;
  void OnRefused(int model, int64_t images, RefusalReason reason) override;
  void OnDropped(int model, DropReason reason, Duration predicted) override;
  void OnBatchStarted(const Batch& batch, TimePoint now) override;
  void OnBatchFinished(const BatchReport& report) override;

 private:
  Metrics& metrics_;
  LoadMeter& load_;
};

}  // namespace spatialmamba
