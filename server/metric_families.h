#pragma once

#include <string>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace spatialmamba {

// Registers families; every name gets the product's prefix.
struct Registrar {
  prometheus::Registry& registry;

  prometheus::Family<prometheus::Counter>& Counters(const std::string& name,
                                                    const std::string& help) const {
    return prometheus::BuildCounter().Name("spatialmamba_" + name).Help(help).Register(registry);
  }
  prometheus::Family<prometheus::Gauge>& Gauges(const std::string& name,
                                                const std::string& help) const {
    return prometheus::BuildGauge().Name("spatialmamba_" + name).Help(help).Register(registry);
  }
  prometheus::Family<prometheus::Histogram>& Histograms(const std::string& name,
                                                        const std::string& help) const {
    return prometheus::BuildHistogram().Name("spatialmamba_" + name).Help(help).Register(registry);
  }
};

// Every metric of the server but those of the process: name, kind and meaning. Units are base
// units, said in the name.
struct Families {
  Registrar add;
  prometheus::Family<prometheus::Counter>& requests =
      add.Counters("requests_total", "Finished requests, by gRPC status code.");
  prometheus::Family<prometheus::Histogram>& request_duration =
      add.Histograms("request_duration_seconds", "From the arrival of a request to its reply.");
  prometheus::Family<prometheus::Counter>& request_errors =
      add.Counters("request_errors_total", "Failed requests, by machine-readable reason.");
  prometheus::Family<prometheus::Gauge>& requests_in_flight =
      add.Gauges("requests_in_flight", "Requests admitted and unfinished.");
  prometheus::Family<prometheus::Gauge>& images_in_flight =
      add.Gauges("images_in_flight", "Images admitted and unfinished.");
  prometheus::Family<prometheus::Counter>& offered = add.Counters(
      "offered_device_seconds_total",
      "Predicted device time, in full batches, of everything that arrived, admitted "
      "or refused. Its rate over the number of devices is the offered load: scale by it.");
  prometheus::Family<prometheus::Counter>& saved =
      add.Counters("saved_device_seconds_total",
                   "Predicted device time of admitted images that were never run.");
  prometheus::Family<prometheus::Counter>& wasted = add.Counters(
      "wasted_device_seconds_total",
      "Predicted device time of images that were run, and whose request was over before they were "
      "done.");
  prometheus::Family<prometheus::Histogram>& batch_prediction = add.Histograms(
      "batch_prediction_ratio", "Time of a batch over its prediction when it was started.");
  prometheus::Family<prometheus::Histogram>& finish_prediction =
      add.Histograms("finish_prediction_ratio",
                     "Time from the arrival of a request to its answer over its prediction at "
                     "admission.");
  prometheus::Family<prometheus::Counter>& dropped =
      add.Counters("dropped_total", "Images that arrived and were never run.");
  prometheus::Family<prometheus::Gauge>& queue_depth =
      add.Gauges("queue_depth", "Images that wait for a device.");
  prometheus::Family<prometheus::Gauge>& queue_capacity =
      add.Gauges("queue_capacity", "Images that may wait for a device.");
  prometheus::Family<prometheus::Gauge>& queue_oldest_age =
      add.Gauges("queue_oldest_age_seconds", "How long the oldest image has waited.");
  prometheus::Family<prometheus::Gauge>& predicted_drain =
      add.Gauges("predicted_drain_seconds", "Predicted device time of everything that waits.");
  prometheus::Family<prometheus::Histogram>& queue_wait = add.Histograms(
      "queue_wait_seconds", "From the arrival of an image's request to the start of its batch.");
  prometheus::Family<prometheus::Histogram>& stage_duration =
      add.Histograms("stage_duration_seconds",
                     "Time of one stage: prepare_wait (arrival to decode), decode, preprocess, "
                     "queue (ready to start of the batch) and postprocess of an image, inference "
                     "of a batch.");
  prometheus::Family<prometheus::Histogram>& batch_size =
      add.Histograms("batch_size", "Images of a batch.");
  prometheus::Family<prometheus::Counter>& batches = add.Counters("batches_total", "Batches run.");
  prometheus::Family<prometheus::Counter>& images = add.Counters("images_total", "Images run.");
  prometheus::Family<prometheus::Counter>& batch_close =
      add.Counters("batch_close_total", "Batches, by what closed them.");
  prometheus::Family<prometheus::Counter>& busy =
      add.Counters("executor_busy_seconds_total",
                   "Time that a device spent on batches; its rate is the duty cycle.");
  prometheus::Family<prometheus::Counter>& device_errors =
      add.Counters("device_errors_total",
                   "Batches that went wrong on a device: for want of memory, for another reason, "
                   "by numbers that are not finite; and what showed that the device has failed.");
  prometheus::Family<prometheus::Gauge>& device_memory_used =
      add.Gauges("device_memory_used_bytes", "Memory of a GPU in use, by whatever process.");
  prometheus::Family<prometheus::Gauge>& device_memory_total =
      add.Gauges("device_memory_total_bytes", "Memory of a GPU.");
  prometheus::Family<prometheus::Gauge>& model_info =
      add.Gauges("model_info", "What is configured; always 1.");
  prometheus::Family<prometheus::Gauge>& model_loaded =
      add.Gauges("model_loaded", "1 once the model answers requests.");
  prometheus::Family<prometheus::Gauge>& load_duration =
      add.Gauges("model_load_duration_seconds", "How long reading the weights took.");
  prometheus::Family<prometheus::Gauge>& warmup_duration =
      add.Gauges("warmup_duration_seconds", "How long the first forward passes took.");
  prometheus::Family<prometheus::Gauge>& build_info =
      add.Gauges("build_info", "The program; always 1.");
  prometheus::Family<prometheus::Gauge>& health_state =
      add.Gauges("health_state", "1 for the state that the server is in, else 0.");
};

}  // namespace spatialmamba
