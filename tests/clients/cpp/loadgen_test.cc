// The load generator: its schedules, its counting, its files, and whole runs against a server in
// this process.
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clients/cpp/loadgen_bars.h"
#include "clients/cpp/loadgen_command.h"
#include "clients/cpp/loadgen_histogram.h"
#include "clients/cpp/loadgen_images.h"
#include "clients/cpp/loadgen_mix.h"
#include "clients/cpp/loadgen_point.h"
#include "clients/cpp/loadgen_schedule.h"
#include "clients/cpp/loadgen_tally.h"
#include "tests/clients/cpp/fake_server.h"

namespace spatialmamba::loadgen {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// ---- Schedules.

TEST(LoadgenSchedule, PoissonArrivalsHaveTheirRateAndTheirSpread) {
  const std::vector<Nanos> instants = DrawArrivals({.rate = 200}, seconds(100), 1);
  EXPECT_NEAR(static_cast<double>(instants.size()), 20'000, 500);
  double sum = 0;
  double squares = 0;
  for (size_t i = 1; i < instants.size(); ++i) {
    const double gap = std::chrono::duration<double>(instants[i] - instants[i - 1]).count();
    ASSERT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
  }
  const auto count = static_cast<double>(instants.size() - 1);
  const double mean = sum / count;
  EXPECT_NEAR(std::sqrt(squares / count - mean * mean) / mean, 1, 0.03);
}

TEST(LoadgenSchedule, DependsOnTheSeedAlone) {
  const Arrivals arrivals{.rate = 50};
  EXPECT_EQ(DrawArrivals(arrivals, seconds(5), 7), DrawArrivals(arrivals, seconds(5), 7));
  EXPECT_NE(DrawArrivals(arrivals, seconds(5), 7), DrawArrivals(arrivals, seconds(5), 8));
}

TEST(LoadgenSchedule, ConstantArrivalsAreEvenlySpaced) {
  const auto instants = DrawArrivals({.kind = ArrivalKind::kConstant, .rate = 10}, seconds(1), 1);
  ASSERT_EQ(instants.size(), 10U);
  EXPECT_EQ(instants[3], milliseconds(300));
}

TEST(LoadgenSchedule, BurstsKeepTheMeanRateAndFallIntoTheirTimes) {
  const Arrivals arrivals{.kind = ArrivalKind::kBursts,
                          .rate = 100,
                          .burst_on = milliseconds(250),
                          .burst_off = milliseconds(750)};
  const auto instants = DrawArrivals(arrivals, seconds(100), 3);
  EXPECT_NEAR(static_cast<double>(instants.size()), 10'000, 400);
  for (const Nanos at : instants) ASSERT_LE(at % seconds(1), milliseconds(250));
}

TEST(LoadgenSchedule, RequestsFallToTheMixtureByWeight) {
  const std::vector<MixEntry> mix = {{.weight = 3}, {.weight = 1, .cancel_share = 0.5}};
  int64_t second = 0;
  int64_t cancelled = 0;
  const auto shots = DrawSchedule({.rate = 100}, mix, seconds(100), 1);
  for (const Shot& shot : shots) {
    second += shot.entry == 1 ? 1 : 0;
    cancelled += shot.cancel ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(second) / static_cast<double>(shots.size()), 0.25, 0.02);
  EXPECT_NEAR(static_cast<double>(cancelled) / static_cast<double>(second), 0.5, 0.05);
}

TEST(LoadgenSchedule, ReadsRecordedOffsets) {
  const auto offsets = ParseOffsets("# recorded\n10.5\n\n10\n12.25\n");
  ASSERT_TRUE(offsets.ok()) << offsets.status();
  EXPECT_THAT(*offsets, testing::ElementsAre(Nanos(0), milliseconds(500), milliseconds(2250)));
  EXPECT_THAT(std::string(ParseOffsets("1\nsoon\n").status().message()), HasSubstr("2"));
  EXPECT_FALSE(ParseOffsets("").ok());
}

// ---- Histograms.

TEST(LoadgenHistogram, KnowsQuantilesToThreeDigits) {
  Histogram histogram;
  std::vector<int64_t> values;
  std::mt19937_64 random(1);
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(static_cast<int64_t>(random() % 10'000'000));
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto exact = static_cast<double>(values[static_cast<size_t>(share * 10'000) - 1]);
    EXPECT_NEAR(static_cast<double>(histogram.Quantile(share)), exact, 0.001 * exact + 1) << share;
  }
  EXPECT_EQ(histogram.Quantile(1), values.back());
  EXPECT_EQ(histogram.min(), values.front());
}

TEST(LoadgenHistogram, MergesAsIfAllHadBeenRecordedInOne) {
  Histogram one;
  Histogram two;
  Histogram both;
  for (int64_t i = 0; i < 1000; ++i) {
    (i % 3 == 0 ? one : two).Record(i * i);
    both.Record(i * i);
  }
  one.Merge(two);
  EXPECT_EQ(one.count(), both.count());
  EXPECT_EQ(one.Quantile(0.73), both.Quantile(0.73));
  EXPECT_NEAR(one.mean(), both.mean(), 1e-6);
  EXPECT_EQ(Histogram().Quantile(0.5), 0);
}

TEST(LoadgenHistogram, WritesTheDistributionThatPlottersRead) {
  Histogram histogram;
  for (int64_t i = 1; i <= 100; ++i) histogram.Record(i * 1000);
  std::ostringstream text;
  histogram.WritePercentiles(1000, text);
  EXPECT_THAT(text.str(), HasSubstr("1/(1-Percentile)"));
  EXPECT_THAT(text.str(), HasSubstr("#[Max"));
}

// ---- Counting.

grpc::Status BusyStatus() {
  google::rpc::ErrorInfo info;
  info.set_reason("OVERLOADED");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(1'000'000);
  return Refusal(grpc::StatusCode::UNAVAILABLE, "busy", {&info, &retry});
}

TEST(LoadgenTally, TellsWhatBecameOfEachRequest) {
  Tally tally;
  const auto count = [&](const grpc::Status& status, int latency_ms, bool hung_up = false) {
    tally.Count({.status = status,
                 .latency = milliseconds(latency_ms),
                 .deadline = milliseconds(100),
                 .hung_up = hung_up});
  };
  count(grpc::Status::OK, 100);
  count(grpc::Status::OK, 130);
  count(BusyStatus(), 1);
  count({grpc::StatusCode::DEADLINE_EXCEEDED, ""}, 100);
  count({grpc::StatusCode::CANCELLED, ""}, 10, true);
  count({grpc::StatusCode::CANCELLED, ""}, 10);
  count({grpc::StatusCode::UNAVAILABLE, "connection refused"}, 1);
  EXPECT_EQ(tally.of(OutcomeKind::kInTime), 1);
  EXPECT_EQ(tally.of(OutcomeKind::kLate), 1);
  EXPECT_EQ(tally.of(OutcomeKind::kRefused), 1);
  EXPECT_EQ(tally.of(OutcomeKind::kExpired), 1);
  EXPECT_EQ(tally.of(OutcomeKind::kCancelled), 1);
  EXPECT_EQ(tally.of(OutcomeKind::kFailed), 2);
  EXPECT_EQ(tally.reasons.at("UNAVAILABLE OVERLOADED"), 1);
  EXPECT_EQ(tally.unavailable, 1);
  EXPECT_EQ(tally.unavailable_with_hint, 1);
  // Of the seven, one caller hung up, and one of the six others had its answer.
  EXPECT_NEAR(tally.missed_share(), 5.0 / 6, 1e-9);
  EXPECT_NEAR(static_cast<double>(tally.overshoot.max()), 30'000, 30);
}

// ---- Judging.

TEST(LoadgenPoint, IsValidIfAllButOnePercentOfTheSendsWereInTime) {
  Point point{.lateness_bound = milliseconds(5)};
  for (int i = 0; i < 99; ++i) point.lateness.Record(4999);
  point.lateness.Record(80'000);
  EXPECT_TRUE(point.valid());
  point.lateness.Record(80'000);
  EXPECT_FALSE(point.valid());
}

Point PointAt(double rate, int64_t in_time, int64_t refused) {
  Point point{.rate = rate, .measured = seconds(1), .entries = std::vector<Tally>(1)};
  Tally& tally = point.entries[0];
  for (int64_t i = 0; i < in_time; ++i) {
    tally.Count({.latency = milliseconds(1), .deadline = milliseconds(2)});
  }
  for (int64_t i = 0; i < refused; ++i) tally.Count({.status = BusyStatus()});
  return point;
}

TEST(LoadgenBars, SayWhatWasReached) {
  Report report{.offline_rate = 1000, .highest_rate = 690};
  report.points = {PointAt(650, 650, 0), PointAt(750, 740, 10), PointAt(1500, 700, 800)};
  const std::vector<Bar> bars = Judge(report);
  std::vector<std::pair<std::string, bool>> told;
  for (const Bar& bar : bars) told.emplace_back(bar.measured, bar.met);
  EXPECT_THAT(told,
              testing::ElementsAre(std::pair("0 of 650", true), std::pair("1.33 %", false),
                                   std::pair("0.690", false), std::pair("0.700", true),
                                   std::pair("0.00 ms", true), std::pair("810 of 810", true)));
  EXPECT_THAT(FormatBars(bars), HasSubstr("goodput ratio"));
  EXPECT_TRUE(Judge({}).empty());
}

// ---- Files.

TEST(LoadgenMix, NamesTheEntryAndTheKeyThatAreWrong) {
  const auto error = [](const std::string& json) {
    return std::string(ParseMix(json, {}).status().message());
  };
  EXPECT_THAT(error("{}"), HasSubstr("list"));
  EXPECT_THAT(error("nonsense"), HasSubstr("not JSON"));
  EXPECT_THAT(error(R"([{"images": ["a"]}, {"images": ["a"], "weight": -1}])"),
              HasSubstr("mix[1].weight"));
  EXPECT_THAT(error(R"([{"images": ["a"], "speed": 1}])"), HasSubstr("speed"));
  EXPECT_THAT(error(R"([{"images": ["a"], "task": "sing"}])"), HasSubstr("mix[0].task"));
  EXPECT_THAT(error(R"([{"images": ["a"], "deadline": "soon"}])"), HasSubstr("mix[0].deadline"));
  EXPECT_THAT(error(R"([{"weight": 1}])"), HasSubstr("images"));
}

TEST(LoadgenMix, WhatIsLeftOutIsTheDefault) {
  const auto mix = ParseMix(R"([{"images": ["raw:8x8"], "deadline": "300ms"}])", {.model = "tiny"});
  ASSERT_TRUE(mix.ok()) << mix.status();
  EXPECT_EQ(mix->front().deadline, milliseconds(300));
  EXPECT_EQ(mix->front().model, "tiny");
  EXPECT_EQ(mix->front().images_per_request, 1);
}

TEST(LoadgenImages, ReadsFoldersFilesAndNoise) {
  const std::string folder = SPATIALMAMBA_SOURCE_DIR "/tests/data/clothing";
  const auto images = LoadImages({folder, folder + "/hat-1.jpg", "raw:4x5"});
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_GE(images->size(), 3U);
  EXPECT_EQ(images->back().raw().height(), 4);
  EXPECT_EQ(images->back().raw().pixels().size(), 60U);
  EXPECT_THAT(std::string(LoadImages({"/nowhere"}).status().message()), HasSubstr("/nowhere"));
  EXPECT_THAT(std::string(LoadImages({"raw:4x"}).status().message()), HasSubstr("raw:4x"));
}

// ---- The whole program.

class LoadgenTest : public testing::Test {
 protected:
  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "spatial-mamba-loadgen");
    std::vector<const char*> argv;
    for (const std::string& one : arguments) argv.push_back(one.c_str());
    return RunLoadgen(static_cast<int>(argv.size()), argv.data(), interrupted_, {out_, err_});
  }
  std::vector<std::string> To(const FakeServer& server, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"--server", server.target(), "--images", "raw:8x8"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  std::atomic<bool> interrupted_ = false;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(LoadgenTest, SendsTheScheduleAndReportsEverything) {
  const std::filesystem::path json = std::filesystem::path(testing::TempDir()) / "loadgen.json";
  FakeServer server;
  const int status = Run(To(server, {"--rate", "100", "--duration", "1s", "--warmup", "100ms",
                                     "--deadline", "5s", "--lateness-bound", "5s", "--json",
                                     json.string(), "--hgrm", json.string() + ".hgrm"}));
  EXPECT_EQ(status, kMeasured) << err_.str();
  std::ifstream in(json);
  const nlohmann::json report = nlohmann::json::parse(in);
  const auto& total = report.at("points").at(0).at("total");
  EXPECT_EQ(total.at("sent"), total.at("in_time"));
  EXPECT_NEAR(total.at("sent").get<double>(), 100, 40);
  EXPECT_EQ(report.at("valid"), true);
  EXPECT_GT(report.at("points").at(0).at("lateness").at("count").get<int>(), 0);
  EXPECT_THAT(out_.str(), HasSubstr("100.0/s"));
  EXPECT_TRUE(std::filesystem::exists(json.string() + ".hgrm"));
}

TEST_F(LoadgenTest, CountsRefusalsWithTheirReasonsAndHints) {
  FakeServer server;
  server.set_on_classify([](int call, grpc::ServerContext& context, v1::ClassifyResponse& reply) {
    if (call % 2 == 1) return Busy(context, 5);
    reply.add_results();
    return grpc::Status::OK;
  });
  EXPECT_EQ(Run(To(server, {"--rate", "100", "--duration", "500ms", "--warmup", "10ms",
                            "--lateness-bound", "5s"})),
            kMeasured);
  EXPECT_THAT(out_.str(), HasSubstr("x UNAVAILABLE QUEUE_FULL"));
  EXPECT_THAT(out_.str(), HasSubstr("retry hints"));
}

TEST_F(LoadgenTest, MeasuresServiceTimeAndOfflineRate) {
  FakeServer server;
  EXPECT_EQ(Run(To(server, {"--service-time", "--closed", "4", "--duration", "300ms", "--warmup",
                            "50ms", "--lateness-bound", "5s"})),
            kMeasured)
      << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("service time"));
  EXPECT_THAT(out_.str(), HasSubstr("offline rate"));
}

TEST_F(LoadgenTest, EndsAClosedLoopWithoutWaitingForItsCalls) {
  FakeServer server;
  server.set_on_classify(
      [&](int call, grpc::ServerContext& context, v1::ClassifyResponse& response) {
        if (call > 0) {  // the first is the probe
          interrupted_ = true;
          while (!context.IsCancelled()) std::this_thread::yield();
        }
        response.add_results();
        return grpc::Status::OK;
      });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Run(To(server, {"--closed", "1", "--duration", "60m"})), kMeasured);
  // The calls' own deadline is 30 s.
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(25));
}

TEST_F(LoadgenTest, ThreeLateAttemptsAreExitStatus3) {
  FakeServer server;
  std::string offsets;  // all at once: those behind must be late
  for (int i = 0; i < 2000; ++i) offsets += "0\n";
  const std::string file = testing::TempDir() + "loadgen_burst.txt";
  std::ofstream(file) << offsets;
  EXPECT_EQ(Run(To(server, {"--arrivals", file, "--duration", "100ms", "--warmup", "1ms",
                            "--lateness-bound", "1ms"})),
            kInvalid);
  EXPECT_THAT(out_.str(), HasSubstr("INVALID: this machine sent requests late"));
}

TEST_F(LoadgenTest, BarsAreJudgedInOneRun) {
  FakeServer server;
  const std::string json = testing::TempDir() + "loadgen_bars.json";
  Run(To(server, {"--bars", "--duration", "100ms", "--warmup", "10ms", "--max-time", "20s",
                  "--json", json}));
  EXPECT_THAT(out_.str(), HasSubstr("goodput at 3x the offline rate, share of it"));
  std::ifstream in(json);
  const nlohmann::json report = nlohmann::json::parse(in);
  EXPECT_EQ(report.at("bars").at(0).at("least"), "0");
  EXPECT_GT(report.at("service_time_ms").get<double>(), 0.0);
}

TEST_F(LoadgenTest, EndsWhenItIsTold) {
  FakeServer server;
  interrupted_ = true;
  EXPECT_EQ(Run(To(server, {"--rate", "10", "--duration", "60m"})), kMeasured);
  EXPECT_THAT(err_.str(), HasSubstr("stopped early"));
}

TEST_F(LoadgenTest, WrongUsageIsExitStatus2) {
  EXPECT_EQ(Run({"--rate", "10"}), kWrongUsage);
  EXPECT_THAT(err_.str(), HasSubstr("--images or --mix"));
  EXPECT_EQ(Run({"--images", "raw:8x8"}), kWrongUsage);
  EXPECT_EQ(Run({"--images", "raw:8x8", "--rate", "-1"}), kWrongUsage);
  EXPECT_EQ(Run({"--images", "raw:8x8", "--rate", "1", "--duration", "soon"}), kWrongUsage);
}

TEST_F(LoadgenTest, WhatCannotRunIsExitStatus1AndNamed) {
  FakeServer server;
  EXPECT_EQ(Run({"--server", server.target(), "--images", "/nowhere", "--rate", "1"}),
            kCouldNotRun);
  EXPECT_THAT(err_.str(), HasSubstr("/nowhere"));
  EXPECT_EQ(Run(To(server, {"--rate", "1", "--arrivals", "/no/such/file"})), kCouldNotRun);
}

}  // namespace
}  // namespace spatialmamba::loadgen
