#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

MetricsOptions Options() {
  MetricsOptions options;
  options.models = {{.name = "clothing",
                     .version = "1",
                     .task = "classify",
                     .variant = "tiny",
                     .precision = "fp32",
                     .sha256 = "ab"},
                    {.name = "other",
                     .version = "2",
                     .task = "classify",
                     .variant = "base",
                     .precision = "fp32",
                     .sha256 = "cd"}};
  options.devices = {"cpu"};
  options.error_reasons = {"IMAGE_DECODE_FAILED", "QUEUE_FULL"};
  options.version = "1.2.3";
  return options;
}

std::vector<std::string> SortedSeries(const std::string& page) {
  std::vector<std::string> series;
  std::istringstream in(page);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("#") && !line.starts_with("process_"))
      series.push_back(line.substr(0, line.rfind(' ')));
  }
  std::sort(series.begin(), series.end());
  return series;
}

TEST(Metrics, PageHasEveryFamilyOfTheCatalogue) {
  Metrics metrics(Options());
  const std::string page = metrics.Serialize();
  for (const char* name : {"requests_total counter",
                           "request_errors_total counter",
                           "request_duration_seconds histogram",
                           "offered_device_seconds_total counter",
                           "images_in_flight gauge",
                           "requests_in_flight gauge",
                           "queue_depth gauge",
                           "queue_capacity gauge",
                           "queue_oldest_age_seconds gauge",
                           "predicted_drain_seconds gauge",
                           "queue_wait_seconds histogram",
                           "stage_duration_seconds histogram",
                           "batch_size histogram",
                           "batches_total counter",
                           "images_total counter",
                           "batch_close_total counter",
                           "executor_busy_seconds_total counter",
                           "device_errors_total counter",
                           "dropped_total counter",
                           "saved_device_seconds_total counter",
                           "model_info gauge",
                           "model_loaded gauge",
                           "model_load_duration_seconds gauge",
                           "warmup_duration_seconds gauge",
                           "build_info gauge",
                           "health_state gauge"}) {
    EXPECT_THAT(page, HasSubstr(std::string("# TYPE spatialmamba_") + name + "\n"));
  }
  for (const char* name : {"process_cpu_seconds_total", "process_resident_memory_bytes",
                           "process_open_fds", "process_max_fds", "process_start_time_seconds"}) {
    EXPECT_THAT(page, HasSubstr(std::string("\n") + name + " "));
  }
  EXPECT_THAT(page, HasSubstr("spatialmamba_build_info{version=\"1.2.3\"} 1\n"));
  EXPECT_THAT(
      page, HasSubstr("spatialmamba_model_info{model=\"clothing\",precision=\"fp32\",sha256=\"ab\","
                      "task=\"classify\",variant=\"tiny\",version=\"1\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_health_state{state=\"starting\"} 1\n"));
}

TEST(Metrics, EverySeriesExistsFromTheStartAndNoneIsAddedByCalls) {
  Metrics metrics(Options());
  const std::vector<std::string> before = SortedSeries(metrics.Serialize());
  for (int code = -1; code < 20; ++code) {
    for (int model = Metrics::kNoModel; model < 5; ++model) {
      metrics.CountRequest(Method::kClassify, model, code, 1ms);
      metrics.CountRequest(Method::kGetModel, model, code, 1ms);
    }
  }
  metrics.CountError(Method::kClassify, "QUEUE_FULL");
  metrics.CountError(Method::kClassify, "made up by a caller");
  EXPECT_EQ(SortedSeries(metrics.Serialize()), before);
}

TEST(Metrics, CountsRequestsByMethodModelAndCode) {
  Metrics metrics(Options());
  metrics.CountRequest(Method::kClassify, 0, 0, 40ms);
  metrics.CountRequest(Method::kClassify, 0, 0, 60ms);
  metrics.CountRequest(Method::kClassify, 1, 14, 1ms);
  metrics.CountRequest(Method::kClassify, Metrics::kNoModel, 5, 1ms);
  const std::string page = metrics.Serialize();
  EXPECT_THAT(
      page,
      HasSubstr(
          "spatialmamba_requests_total{code=\"OK\",method=\"Classify\",model=\"clothing\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("{code=\"UNAVAILABLE\",method=\"Classify\",model=\"other\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("{code=\"NOT_FOUND\",method=\"Classify\",model=\"\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_request_duration_seconds_bucket{method=\"Classify\","
                              "model=\"clothing\",le=\"0.05\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_request_duration_seconds_count{method=\"Classify\","
                              "model=\"clothing\"} 2\n"));
}

TEST(Metrics, UsualObjectivesAreExactBounds) {
  Metrics metrics(Options());
  const std::string page = metrics.Serialize();
  for (const char* bound :
       {"0.025", "0.05", "0.1", "0.2", "0.25", "0.3", "0.5", "1", "2", "5", "+Inf"}) {
    EXPECT_THAT(
        page,
        HasSubstr(
            std::string(
                "request_duration_seconds_bucket{method=\"Classify\",model=\"clothing\",le=\"") +
            bound + "\"}"));
  }
}

TEST(Metrics, ConfiguredLatencyBucketsReplaceTheDefault) {
  MetricsOptions options = Options();
  options.latency_buckets = {0.004, 0.4};
  Metrics metrics(options);
  const std::string page = metrics.Serialize();
  EXPECT_THAT(
      page,
      HasSubstr(
          "request_duration_seconds_bucket{method=\"Classify\",model=\"clothing\",le=\"0.004\"}"));
  EXPECT_THAT(
      page,
      Not(HasSubstr(
          "request_duration_seconds_bucket{method=\"Classify\",model=\"clothing\",le=\"0.05\"}")));
}

TEST(Metrics, UnknownErrorReasonsCountAsOther) {
  Metrics metrics(Options());
  metrics.CountError(Method::kClassify, "QUEUE_FULL");
  metrics.CountError(Method::kClassify, "SOMETHING_ELSE");
  const std::string page = metrics.Serialize();
  EXPECT_THAT(
      page,
      HasSubstr(
          "spatialmamba_request_errors_total{method=\"Classify\",reason=\"QUEUE_FULL\"} 1\n"));
  EXPECT_THAT(
      page,
      HasSubstr("spatialmamba_request_errors_total{method=\"Classify\",reason=\"OTHER\"} 1\n"));
}

TEST(Metrics, CountersOfAModelAppearUnderItsLabels) {
  Metrics metrics(Options());
  const Metrics::ModelMetrics& model = metrics.model(1);
  model.offered_device_seconds.Increment(0.5);
  model.drop(DropLabel::kOverload).Increment(3);
  model.close(CloseLabel::kDeadline).Increment();
  model.busy(0).Increment(0.25);
  model.stage(Stage::kPreprocess).Observe(0.002);
  model.batch_size.Observe(8);
  metrics.method(Method::kClassify).images_in_flight.Increment(4);
  const std::string page = metrics.Serialize();
  EXPECT_THAT(page, HasSubstr("spatialmamba_offered_device_seconds_total{model=\"other\"} 0.5\n"));
  EXPECT_THAT(page,
              HasSubstr("spatialmamba_dropped_total{model=\"other\",reason=\"overload\"} 3\n"));
  EXPECT_THAT(page,
              HasSubstr("spatialmamba_batch_close_total{cause=\"deadline\",model=\"other\"} 1\n"));
  EXPECT_THAT(
      page,
      HasSubstr("spatialmamba_executor_busy_seconds_total{device=\"cpu\",model=\"other\"} 0.25\n"));
  EXPECT_THAT(
      page,
      HasSubstr(
          "spatialmamba_stage_duration_seconds_count{model=\"other\",stage=\"preprocess\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_batch_size_bucket{model=\"other\",le=\"8\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_batch_size_bucket{model=\"other\",le=\"4\"} 0\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_images_in_flight{method=\"Classify\"} 4\n"));
}

TEST(Metrics, QueueGaugesAreAskedForAtEveryScrape) {
  Metrics metrics(Options());
  int64_t depth = 7;
  metrics.SetQueueSource([&](int model) {
    return QueueSample{
        .depth = depth + model, .capacity = 100, .oldest_age = 250ms, .predicted_drain = 2s};
  });
  EXPECT_THAT(metrics.Serialize(), HasSubstr("spatialmamba_queue_depth{model=\"clothing\"} 7\n"));
  depth = 9;
  const std::string page = metrics.Serialize();
  EXPECT_THAT(page, HasSubstr("spatialmamba_queue_depth{model=\"clothing\"} 9\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_queue_depth{model=\"other\"} 10\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_queue_capacity{model=\"other\"} 100\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_queue_oldest_age_seconds{model=\"other\"} 0.25\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_predicted_drain_seconds{model=\"other\"} 2\n"));
  metrics.SetQueueSource(nullptr);
  depth = 11;
  EXPECT_THAT(metrics.Serialize(), Not(HasSubstr("queue_depth{model=\"clothing\"} 11\n")));
}

TEST(Metrics, DevicesAreAskedForAtEveryScrapeAndKeepWhatTheyLastKnewOfTheirMemory) {
  MetricsOptions options = Options();
  options.devices = {"cuda:0", "cuda:1"};
  Metrics metrics(options);
  DeviceSample sample{.memory_used = 3e9, .memory_total = 8e9, .errors = {}};
  metrics.SetDeviceSource([&](int device) { return device == 1 ? sample : DeviceSample(); });
  sample.errors[static_cast<size_t>(DeviceErrorKind::kOutOfMemory)] = 2;
  (void)metrics.Serialize();
  sample = {.errors = sample.errors};  // it does not answer any more
  sample.errors[static_cast<size_t>(DeviceErrorKind::kSticky)] = 1;
  const std::string page = metrics.Serialize();
  const std::string errors = "spatialmamba_device_errors_total{device=\"cuda:1\",kind=";
  EXPECT_THAT(page, HasSubstr(errors + "\"out_of_memory\"} 2\n"));
  EXPECT_THAT(page, HasSubstr(errors + "\"sticky\"} 1\n"));
  EXPECT_THAT(page, HasSubstr(errors + "\"canary\"} 0\n"));
  EXPECT_THAT(page, HasSubstr("device_memory_used_bytes{device=\"cuda:1\"} 3000000000\n"));
  EXPECT_THAT(page, HasSubstr("device_memory_total_bytes{device=\"cuda:1\"} 8000000000\n"));
}

TEST(Metrics, HealthIsOneStateAtATime) {
  Metrics metrics(Options());
  metrics.SetHealth(HealthState::kDraining);
  const std::string page = metrics.Serialize();
  EXPECT_THAT(page, HasSubstr("spatialmamba_health_state{state=\"draining\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_health_state{state=\"starting\"} 0\n"));
}

TEST(Metrics, VersionsOfOneNameHaveTheirOwnSeries) {
  MetricsOptions options = Options();
  options.models[1].name = "clothing";
  Metrics metrics(options);
  metrics.model(1).batches.Increment();
  const std::string page = metrics.Serialize();
  EXPECT_THAT(page, HasSubstr("spatialmamba_batches_total{model=\"clothing:1\"} 0\n"));
  EXPECT_THAT(page, HasSubstr("spatialmamba_batches_total{model=\"clothing:2\"} 1\n"));
}

TEST(Metrics, NoCountIsLostBetweenThreads) {
  Metrics metrics(Options());
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) metrics.CountRequest(Method::kClassify, 0, 0, 1ms);
      });
    }
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) (void)metrics.Serialize();
    });
  }
  EXPECT_THAT(metrics.Serialize(),
              HasSubstr("{code=\"OK\",method=\"Classify\",model=\"clothing\"} 4000\n"));
}

TEST(Metrics, PagePassesPromtool) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "promtool is not installed";
  Metrics metrics(Options());
  metrics.CountRequest(Method::kClassify, 0, 0, 40ms);
  const std::string stem = ::testing::TempDir() + "/promtool_" + std::to_string(getpid());
  std::ofstream(stem + ".prom") << metrics.Serialize();
  const int status =
      std::system(("promtool check metrics < " + stem + ".prom > " + stem + ".out 2>&1").c_str());
  std::ostringstream said;
  said << std::ifstream(stem + ".out").rdbuf();
  EXPECT_EQ(WEXITSTATUS(status), 0) << said.str();
  EXPECT_EQ(said.str(), "");
}

}  // namespace
}  // namespace spatialmamba
