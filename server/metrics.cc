#include "server/metrics.h"

#include <algorithm>
#include <map>
#include <utility>

#include "prometheus/text_serializer.h"
#include "server/metric_families.h"
#include "server/process_metrics.h"

namespace spatialmamba {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Labels;
using Buckets = Histogram::BucketBoundaries;

constexpr size_t kCodes = 17;
constexpr std::array<const char*, kCodes> kCodeNames = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};
constexpr const char* kOtherReason = "OTHER";

// Holds the usual objectives (25, 50, 100, 200, 250, 300, 500 ms, 1, 2 s ...) exactly, so that a
// share of requests within an objective is a bucket and not an estimate.
const Buckets& LatencyBuckets() {
  static const Buckets kBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3,
                                   0.5,   0.75,   1,     1.5,  2,     2.5,  5,   10,  30};
  return kBuckets;
}

const Buckets& StageBuckets() {
  static const Buckets kBuckets = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                   0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  return kBuckets;
}

const Buckets& BatchSizeBuckets() {
  static const Buckets kBuckets = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  return kBuckets;
}

// Of what happened over what was predicted: 1 is a perfect prediction.
const Buckets& RatioBuckets() {
  static const Buckets kBuckets = {0.1,  0.25, 0.5,  0.7, 0.8, 0.9, 0.95, 1,
                                   1.05, 1.1,  1.25, 1.5, 2,   3,   5,    10};
  return kBuckets;
}

std::vector<std::string> ModelLabels(const std::vector<MetricsOptions::Model>& models) {
  std::vector<std::string> labels;
  for (const MetricsOptions::Model& model : models) {
    const auto namesake = [&](const MetricsOptions::Model& other) {
      return other.name == model.name;
    };
    const bool unique = std::count_if(models.begin(), models.end(), namesake) == 1;
    labels.push_back(unique ? model.name : model.name + ":" + model.version);
  }
  return labels;
}

template <typename T, typename Names, typename... Args>
std::vector<T*> AddEach(Family<T>& family, const Labels& labels, const std::string& label,
                        const Names& names, const Args&... args) {
  std::vector<T*> children;
  for (const auto& name : names) {
    Labels all = labels;
    all[label] = name;
    children.push_back(&family.Add(all, args...));
  }
  return children;
}

Metrics::ModelMetrics AddModel(const Families& families, const std::string& label,
                               const std::vector<std::string>& devices) {
  const Labels model = {{"model", label}};
  return {.offered_device_seconds = families.offered.Add(model),
          .saved_device_seconds = families.saved.Add(model),
          .wasted_device_seconds = families.wasted.Add(model),
          .batch_prediction_ratio = families.batch_prediction.Add(model, RatioBuckets()),
          .finish_prediction_ratio = families.finish_prediction.Add(model, RatioBuckets()),
          .queue_wait_seconds = families.queue_wait.Add(model, StageBuckets()),
          .batch_size = families.batch_size.Add(model, BatchSizeBuckets()),
          .batches = families.batches.Add(model),
          .images = families.images.Add(model),
          .loaded = families.model_loaded.Add(model),
          .load_seconds = families.load_duration.Add(model),
          .warmup_seconds = families.warmup_duration.Add(model),
          .stage_seconds =
              AddEach(families.stage_duration, model, "stage", kStageNames, StageBuckets()),
          .batch_close = AddEach(families.batch_close, model, "cause", kCloseLabelNames),
          .dropped = AddEach(families.dropped, model, "reason", kDropLabelNames),
          .busy_seconds = AddEach(families.busy, model, "device", devices)};
}

}  // namespace

struct Metrics::Series {
  struct Requests {
    std::vector<Counter*> by_code;
    Histogram* duration = nullptr;
  };
  struct Queue {
    Gauge& depth;
    Gauge& capacity;
    Gauge& oldest_age_seconds;
    Gauge& predicted_drain_seconds;
  };

  struct Device {
    std::vector<Counter*> errors;  // by DeviceErrorKind
    Gauge* memory_used = nullptr;  // null: of a CPU, whose memory is the process's
    Gauge* memory_total = nullptr;
    DeviceErrorCounts counted = {};
  };

  Series(prometheus::Registry& registry, const MetricsOptions& options);
  void AddDevice(const std::string& name, const Families& families);
  void Fill(int model, const QueueSample& sample) const;
  void Fill(int device, const DeviceSample& sample);
  void AddMethod(size_t method, const Families& families, const MetricsOptions& options,
                 const std::vector<std::string>& labels);

  std::vector<MethodMetrics> methods;           // by Method
  std::vector<ModelMetrics> models;             // by model index
  std::vector<Queue> queues;                    // by model index
  std::vector<Device> devices;                  // by device index
  std::vector<std::vector<Requests>> requests;  // by Method; then no model, or 1 + model index
  std::vector<std::map<std::string, Counter*, std::less<>>> errors;  // by Method
  std::vector<Gauge*> health;                                        // by HealthState
};

Metrics::Series::Series(prometheus::Registry& registry, const MetricsOptions& options) {
  const Families families{Registrar{registry}};
  const std::vector<std::string> labels = ModelLabels(options.models);
  for (size_t method = 0; method < kMethodNames.size(); ++method) {
    AddMethod(method, families, options, labels);
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    const Labels model = {{"model", labels[i]}};
    models.push_back(AddModel(families, labels[i], options.devices));
    queues.push_back({families.queue_depth.Add(model), families.queue_capacity.Add(model),
                      families.queue_oldest_age.Add(model), families.predicted_drain.Add(model)});
    const MetricsOptions::Model& info = options.models[i];
    families.model_info
        .Add({{"model", labels[i]},
              {"version", info.version},
              {"task", info.task},
              {"variant", info.variant},
              {"precision", info.precision},
              {"sha256", info.sha256}})
        .Set(1);
  }
  for (const std::string& device : options.devices) AddDevice(device, families);
  families.build_info.Add({{"version", options.version}}).Set(1);
  health = AddEach(families.health_state, {}, "state", kHealthStateNames);
}

void Metrics::Series::AddMethod(size_t method, const Families& families,
                                const MetricsOptions& options,
                                const std::vector<std::string>& labels) {
  const Labels method_label = {{"method", std::string(kMethodNames[method])}};
  methods.push_back(
      {families.requests_in_flight.Add(method_label), families.images_in_flight.Add(method_label)});

  std::vector<std::string> models_of_method = {""};
  const bool runs_models = static_cast<Method>(method) <= Method::kSegment;
  if (runs_models) models_of_method.insert(models_of_method.end(), labels.begin(), labels.end());
  const Buckets& buckets =
      options.latency_buckets.empty() ? LatencyBuckets() : options.latency_buckets;
  std::vector<Requests>& of_method = requests.emplace_back();
  for (const std::string& model : models_of_method) {
    Labels both = method_label;
    both["model"] = model;
    of_method.push_back({AddEach(families.requests, both, "code", kCodeNames),
                         &families.request_duration.Add(both, buckets)});
  }

  auto& by_reason = errors.emplace_back();
  std::vector<std::string> reasons = options.error_reasons;
  reasons.push_back(kOtherReason);
  const std::vector<Counter*> counters =
      AddEach(families.request_errors, method_label, "reason", reasons);
  for (size_t i = 0; i < reasons.size(); ++i) by_reason[reasons[i]] = counters[i];
}

void Metrics::Series::AddDevice(const std::string& name, const Families& families) {
  const Labels label = {{"device", name}};
  Device& device = devices.emplace_back();
  device.errors = AddEach(families.device_errors, label, "kind", kDeviceErrorNames);
  if (name == "cpu") return;
  device.memory_used = &families.device_memory_used.Add(label);
  device.memory_total = &families.device_memory_total.Add(label);
}

void Metrics::Series::Fill(int model, const QueueSample& sample) const {
  const Queue& queue = queues[static_cast<size_t>(model)];
  queue.depth.Set(static_cast<double>(sample.depth));
  queue.capacity.Set(static_cast<double>(sample.capacity));
  queue.oldest_age_seconds.Set(sample.oldest_age.count());
  queue.predicted_drain_seconds.Set(sample.predicted_drain.count());
}

void Metrics::Series::Fill(int index, const DeviceSample& sample) {
  Device& device = devices[static_cast<size_t>(index)];
  for (size_t kind = 0; kind < kDeviceErrorKinds; ++kind) {
    device.errors[kind]->Increment(static_cast<double>(sample.errors[kind] - device.counted[kind]));
  }
  device.counted = sample.errors;
  if (device.memory_total == nullptr || sample.memory_total == 0) return;
  device.memory_used->Set(sample.memory_used);
  device.memory_total->Set(sample.memory_total);
}

Metrics::Metrics(const MetricsOptions& options)
    : series_(std::make_unique<Series>(registry_, options)) {
  SetHealth(HealthState::kStarting);
}

Metrics::~Metrics() = default;

const Metrics::MethodMetrics& Metrics::method(Method method) const {
  return series_->methods[static_cast<size_t>(method)];
}

const Metrics::ModelMetrics& Metrics::model(int model) const {
  return series_->models[static_cast<size_t>(model)];
}

void Metrics::CountRequest(Method method, int model, int code,
                           std::chrono::duration<double> duration) {
  const auto& of_method = series_->requests[static_cast<size_t>(method)];
  const auto index = static_cast<size_t>(model + 1);
  const Series::Requests& requests = of_method[index < of_method.size() ? index : 0];
  constexpr int kUnknown = 2;
  const bool known = code >= 0 && code < static_cast<int>(kCodes);
  requests.by_code[static_cast<size_t>(known ? code : kUnknown)]->Increment();
  requests.duration->Observe(duration.count());
}

void Metrics::CountError(Method method, std::string_view reason) {
  const auto& by_reason = series_->errors[static_cast<size_t>(method)];
  const auto found = by_reason.find(reason);
  (found == by_reason.end() ? by_reason.find(kOtherReason) : found)->second->Increment();
}

void Metrics::SetHealth(HealthState state) {
  for (size_t i = 0; i < series_->health.size(); ++i) {
    series_->health[i]->Set(static_cast<size_t>(state) == i ? 1 : 0);
  }
}

void Metrics::SetQueueSource(std::function<QueueSample(int)> source) {
  const std::lock_guard lock(source_mutex_);
  queue_source_ = std::move(source);
}

void Metrics::SetDeviceSource(std::function<DeviceSample(int)> source) {
  const std::lock_guard lock(source_mutex_);
  device_source_ = std::move(source);
}

std::string Metrics::Serialize() {
  std::vector<prometheus::MetricFamily> families;
  {
    const std::lock_guard lock(source_mutex_);
    for (int i = 0; queue_source_ && i < static_cast<int>(series_->queues.size()); ++i) {
      series_->Fill(i, queue_source_(i));
    }
    for (int i = 0; device_source_ && i < static_cast<int>(series_->devices.size()); ++i) {
      series_->Fill(i, device_source_(i));
    }
    families = registry_.Collect();
  }
  std::vector<prometheus::MetricFamily> process = CollectProcessMetrics();
  families.insert(families.end(), std::make_move_iterator(process.begin()),
                  std::make_move_iterator(process.end()));
  for (prometheus::MetricFamily& family : families) {
    std::sort(family.metric.begin(), family.metric.end(),
              [](const auto& a, const auto& b) { return a.label < b.label; });
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace spatialmamba
