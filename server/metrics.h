#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

#include "model/runtime/device_error.h"

namespace spatialmamba {

// The methods of VisionService, and their names as label values.
enum class Method { kClassify, kDetect, kSegment, kListModels, kGetModel };
inline constexpr std::array<std::string_view, 5> kMethodNames = {"Classify", "Detect", "Segment",
                                                                 "ListModels", "GetModel"};

enum class Stage { kPrepareWait, kDecode, kPreprocess, kQueue, kInference, kPostprocess };
inline constexpr std::array<std::string_view, 6> kStageNames = {
    "prepare_wait", "decode", "preprocess", "queue", "inference", "postprocess"};

// Why an image that arrived was never run: refused on arrival or dropped later.
enum class DropLabel { kQueueFull, kOverload, kDeadline, kCancelled, kDraining };
inline constexpr std::array<std::string_view, 5> kDropLabelNames = {
    "queue_full", "overload", "deadline", "cancelled", "draining"};

enum class CloseLabel { kFull, kIdle, kDeadline, kDrain };  // the order of batching's CloseCause
inline constexpr std::array<std::string_view, 4> kCloseLabelNames = {"full", "idle", "deadline",
                                                                     "drain"};

enum class HealthState { kStarting, kServing, kDraining, kFailed };
inline constexpr std::array<std::string_view, 4> kHealthStateNames = {"starting", "serving",
                                                                      "draining", "failed"};

// What is registered. A series exists from the start for every combination of these: callers cannot
// make new ones.
struct MetricsOptions {
  struct Model {
    std::string name;
    std::string version;
    std::string task;  // "classify", ...
    std::string variant;
    std::string precision;
    std::string sha256;
  };
  std::vector<Model> models;         // index = the model index of every call below
  std::vector<std::string> devices;  // "cpu", "cuda:0", ...; index = the device index
  std::vector<std::string>
      error_reasons;  // values of the label `reason` of request_errors_total; others count as OTHER
  std::vector<double> latency_buckets;  // seconds, rising; empty: the default
  std::string version;                  // of the server
};

// A queue at the moment of a scrape.
struct QueueSample {
  int64_t depth = 0;     // images
  int64_t capacity = 0;  // images
  std::chrono::duration<double> oldest_age{0};
  std::chrono::duration<double> predicted_drain{0};
};

// A device at the moment of a scrape.
struct DeviceSample {
  double memory_used = 0;   // bytes
  double memory_total = 0;  // 0: not known now
  DeviceErrorCounts errors = {};
};

// Every metric of the server. All are registered by the constructor; afterwards they are only
// counted. Thread-safe. Names, units and meaning stand in metric_families.h. A model's label is its
// name; name:version if the name is not unique.
class Metrics {
 public:
  static constexpr int kNoModel =
      -1;  // the request named no model, or one that does not exist: label ""

  struct MethodMetrics {
    prometheus::Gauge& requests_in_flight;
    prometheus::Gauge& images_in_flight;
  };
  struct ModelMetrics {
    prometheus::Counter& offered_device_seconds;
    prometheus::Counter& saved_device_seconds;
    prometheus::Counter& wasted_device_seconds;
    prometheus::Histogram& batch_prediction_ratio;
    prometheus::Histogram& finish_prediction_ratio;
    prometheus::Histogram& queue_wait_seconds;
    prometheus::Histogram& batch_size;
    prometheus::Counter& batches;
    prometheus::Counter& images;
    prometheus::Gauge& loaded;  // 1 when it can be used
    prometheus::Gauge& load_seconds;
    prometheus::Gauge& warmup_seconds;
    std::vector<prometheus::Histogram*> stage_seconds;  // by Stage
    std::vector<prometheus::Counter*> batch_close;      // by CloseLabel
    std::vector<prometheus::Counter*> dropped;          // by DropLabel
    std::vector<prometheus::Counter*> busy_seconds;     // by device index

    prometheus::Histogram& stage(Stage stage) const {
      return *stage_seconds[static_cast<size_t>(stage)];
    }
    prometheus::Counter& close(CloseLabel cause) const {
      return *batch_close[static_cast<size_t>(cause)];
    }
    prometheus::Counter& drop(DropLabel reason) const {
      return *dropped[static_cast<size_t>(reason)];
    }
    prometheus::Counter& busy(int device) const {
      return *busy_seconds[static_cast<size_t>(device)];
    }
  };

  explicit Metrics(const MetricsOptions& options);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  const MethodMetrics& method(Method method) const;
  const ModelMetrics& model(int model) const;

  // A finished request: counts it and its duration. `code` is the number of a gRPC status code,
  // 0..16.
  void CountRequest(Method method, int model, int code, std::chrono::duration<double> duration);
  // `reason` is the machine-readable reason of the error, one of the options' list.
  void CountError(Method method, std::string_view reason);
  void SetHealth(HealthState state);

  // Asked for every model, or device, at each scrape. An empty function detaches it; afterwards the
  // old one is no longer called.
  void SetQueueSource(std::function<QueueSample(int model)> source);
  void SetDeviceSource(std::function<DeviceSample(int device)> source);

  // The page for /metrics, in Prometheus' text format.
  std::string Serialize();

 private:
  struct Series;

  prometheus::Registry registry_;
  std::unique_ptr<Series> series_;
  std::mutex source_mutex_;  // guards the sources and what is filled from them
  std::function<QueueSample(int)> queue_source_;
  std::function<DeviceSample(int)> device_source_;
};

}  // namespace spatialmamba
