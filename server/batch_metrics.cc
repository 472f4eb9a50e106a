#include "server/batch_metrics.h"

#include <chrono>

namespace spatialmamba {
namespace {

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

DropLabel LabelOf(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kQueueFull:
      return DropLabel::kQueueFull;
    case RefusalReason::kOverloaded:
      return DropLabel::kOverload;
    case RefusalReason::kDeadline:
      return DropLabel::kDeadline;
    case RefusalReason::kDraining:
      return DropLabel::kDraining;
  }
  return DropLabel::kOverload;
}

DropLabel LabelOf(DropReason reason) {
  switch (reason) {
    case DropReason::kDeadline:
      return DropLabel::kDeadline;
    case DropReason::kOverloaded:
      return DropLabel::kOverload;
    case DropReason::kCancelled:
      return DropLabel::kCancelled;
    case DropReason::kDraining:
      return DropLabel::kDraining;
  }
  return DropLabel::kCancelled;
}

CloseLabel LabelOf(CloseCause cause) {
  switch (cause) {
    case CloseCause::kFull:
      return CloseLabel::kFull;
    case CloseCause::kIdle:
      return CloseLabel::kIdle;
    case CloseCause::kDeadline:
      return CloseLabel::kDeadline;
    case CloseCause::kDrain:
      return CloseLabel::kDrain;
  }
  return CloseLabel::kIdle;
}

}  // namespace

void BatchMetrics::OnOffered(int model, int64_t, Duration predicted) {
  metrics_.model(model).offered_device_seconds.Increment(Seconds(predicted));
}

void BatchMetrics::OnRefused(int model, int64_t images, RefusalReason reason) {
  metrics_.model(model).drop(LabelOf(reason)).Increment(static_cast<double>(images));
}

void BatchMetrics::OnDropped(int model, DropReason reason, Duration predicted) {
  const Metrics::ModelMetrics& metrics = metrics_.model(model);
  metrics.drop(LabelOf(reason)).Increment();
  metrics.saved_device_seconds.Increment(Seconds(predicted));
}

void BatchMetrics::OnBatchStarted(const Batch& batch, TimePoint now) {
  const Metrics::ModelMetrics& metrics = metrics_.model(batch.model);
  const auto images = static_cast<double>(batch.tasks.size());
  metrics.batches.Increment();
  metrics.batch_size.Observe(images);
  metrics.close(LabelOf(batch.cause)).Increment();
  for (const auto& task : batch.tasks) {
    metrics.queue_wait_seconds.Observe(Seconds(now - task->info().arrival));
  }
}

void BatchMetrics::OnBatchFinished(const BatchReport& report) {
  const Metrics::ModelMetrics& metrics = metrics_.model(report.model);
  metrics.images.Increment(static_cast<double>(report.images));
  metrics.busy(report.device).Increment(Seconds(report.busy));
  if (report.whole && report.predicted > Duration::zero()) {
    metrics.batch_prediction_ratio.Observe(Seconds(report.busy) / Seconds(report.predicted));
  }
  load_.CountBusy(report.busy);
}

}  // namespace spatialmamba
