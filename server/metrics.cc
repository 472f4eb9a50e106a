#include "server/metrics.h"

#include <algorithm>
#include <map>
#include <utility>

#include "prometheus/text_serializer.h"
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

// Registers families; every name gets the product's prefix.
struct Registrar {
  prometheus::Registry& registry;

  Family<Counter>& Counters(const std::string& name, const std::string& help) const {
    return prometheus::BuildCounter().Name("spatialmamba_" + name).Help(help).Register(registry);
  }
  Family<Gauge>& Gauges(const std::string& name, const std::string& help) const {
    return prometheus::BuildGauge().Name("spatialmamba_" + name).Help(help).Register(registry);
  }
  Family<Histogram>& Histograms(const std::string& name, const std::string& help) const {
    return prometheus::BuildHistogram().Name("spatialmamba_" + name).Help(help).Register(registry);
  }
};

// All families with labels; the only place that states names and meaning.
struct Families {
  Registrar add;
  Family<Counter>& requests =
      add.Counters("requests_total", "Finished requests, by gRPC status code.");
  Family<Histogram>& request_duration =
      add.Histograms("request_duration_seconds", "From the arrival of a request to its reply.");
  Family<Counter>& request_errors =
      add.Counters("request_errors_total", "Failed requests, by machine-readable reason.");
  Family<Gauge>& requests_in_flight =
      add.Gauges("requests_in_flight", "Requests admitted and unfinished.");
  Family<Gauge>& images_in_flight =
      add.Gauges("images_in_flight", "Images admitted and unfinished.");
  Family<Counter>& offered =
      add.Counters("offered_device_seconds_total",
                   "Predicted device time of everything that arrived, admitted or refused. Its "
                   "rate over the number of devices is the "
                   "offered load: scale by it.");
  Family<Counter>& saved =
      add.Counters("saved_device_seconds_total",
                   "Predicted device time of admitted images that were never run.");
  Family<Counter>& dropped =
      add.Counters("dropped_total", "Images that arrived and were never run.");
  Family<Gauge>& queue_depth = add.Gauges("queue_depth", "Images that wait for a device.");
  Family<Gauge>& queue_capacity =
      add.Gauges("queue_capacity", "Images that may wait for a device.");
  Family<Gauge>& queue_oldest_age =
      add.Gauges("queue_oldest_age_seconds", "How long the oldest image has waited.");
  Family<Gauge>& predicted_drain =
      add.Gauges("predicted_drain_seconds", "Predicted device time of everything that waits.");
  Family<Histogram>& queue_wait = add.Histograms(
      "queue_wait_seconds", "From the arrival of an image's request to the start of its batch.");
  Family<Histogram>& stage_duration =
      add.Histograms("stage_duration_seconds",
                     "Time of one stage: decode, preprocess and postprocess of an image, "
                     "inference of a batch.");
  Family<Histogram>& batch_size = add.Histograms("batch_size", "Images of a batch.");
  Family<Counter>& batches = add.Counters("batches_total", "Batches run.");
  Family<Counter>& images = add.Counters("images_total", "Images run.");
  Family<Counter>& batch_close = add.Counters("batch_close_total", "Batches, by what closed them.");
  Family<Counter>& busy =
      add.Counters("executor_busy_seconds_total",
                   "Time that a device spent on batches; its rate is the duty cycle.");
  Family<Gauge>& model_info = add.Gauges("model_info", "What is configured; always 1.");
  Family<Gauge>& model_loaded = add.Gauges("model_loaded", "1 once the model answers requests.");
  Family<Gauge>& load_duration =
      add.Gauges("model_load_duration_seconds", "How long reading the weights took.");
  Family<Gauge>& warmup_duration =
      add.Gauges("warmup_duration_seconds", "How long the first forward passes took.");
  Family<Gauge>& build_info = add.Gauges("build_info", "The program; always 1.");
  Family<Gauge>& health_state =
      add.Gauges("health_state", "1 for the state that the server is in, else 0.");
};

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

  Series(prometheus::Registry& registry, const MetricsOptions& options);
  void AddMethod(size_t method, const Families& families, const MetricsOptions& options,
                 const std::vector<std::string>& labels);

  std::vector<MethodMetrics> methods;           // by Method
  std::vector<ModelMetrics> models;             // by model index
  std::vector<Queue> queues;                    // by model index
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
  const std::lock_guard lock(queue_source_mutex_);
  queue_source_ = std::move(source);
}

std::string Metrics::Serialize() {
  std::vector<prometheus::MetricFamily> families;
  {
    const std::lock_guard lock(queue_source_mutex_);
    for (size_t i = 0; queue_source_ && i < series_->queues.size(); ++i) {
      const QueueSample sample = queue_source_(static_cast<int>(i));
      const Series::Queue& queue = series_->queues[i];
      queue.depth.Set(static_cast<double>(sample.depth));
      queue.capacity.Set(static_cast<double>(sample.capacity));
      queue.oldest_age_seconds.Set(sample.oldest_age.count());
      queue.predicted_drain_seconds.Set(sample.predicted_drain.count());
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
