// The autoscaler's algorithm against cases that were worked out by hand, and a small fleet.
#include <gtest/gtest.h>

#include "tests/bench/autoscaler.h"
#include "tests/bench/fleet.h"
#include "tests/bench/scraped.h"

namespace spatialmamba::simulation {
namespace {

TEST(Wanted, AverageValueDividesTheTotalByTheTargetOfAPod) {
  EXPECT_EQ(WantedByAverageValue(3.1, 0.6, {.all = 2, .ready = 2}, 0.1), 6);  // 5.17
  EXPECT_EQ(WantedByAverageValue(0, 0.6, {.all = 2, .ready = 2}, 0.1), 0);
  EXPECT_EQ(WantedByAverageValue(3.1, 0.6, {.all = 2, .ready = 1}, 0.1), 6);
}

TEST(Wanted, StaysWithinTheToleranceOfTheTarget) {
  EXPECT_EQ(WantedByAverageValue(1.31, 0.6, {.all = 2, .ready = 2}, 0.1), 2);  // 1.092
  EXPECT_EQ(WantedByAverageValue(1.33, 0.6, {.all = 2, .ready = 2}, 0.1), 3);  // 1.108
  EXPECT_EQ(WantedByAverageValue(1.09, 0.6, {.all = 2, .ready = 2}, 0.1), 2);  // .908
  EXPECT_EQ(WantedByAverageValue(0.59, 0.6, {.all = 2, .ready = 2}, 0.1), 1);
}

TEST(Wanted, ValueMultipliesTheReadyPods) {
  EXPECT_EQ(WantedByValue(0.3, 0.1, {.all = 4, .ready = 2}, 0.1), 6);
  EXPECT_EQ(WantedByValue(0.05, 0.1, {.all = 4, .ready = 4}, 0.1), 2);
  EXPECT_EQ(WantedByValue(0.105, 0.1, {.all = 4, .ready = 2}, 0.1), 4);
}

TEST(Wanted, UtilizationCountsPodsThatAreNotReadyAsIdleBeforeItAddsMore) {
  EXPECT_EQ(WantedByUtilization(0.9, 0.6, {.all = 4, .ready = 4}, 0.1), 6);
  // .9 * 2 / 4 = .45 of .6: enough are on their way.
  EXPECT_EQ(WantedByUtilization(0.9, 0.6, {.all = 4, .ready = 2}, 0.1), 4);
  // .9 * 9 / 10 = .81 of .6: 13.5.
  EXPECT_EQ(WantedByUtilization(0.9, 0.6, {.all = 10, .ready = 9}, 0.1), 14);
  EXPECT_EQ(WantedByUtilization(0.3, 0.6, {.all = 4, .ready = 4}, 0.1), 2);
}

TEST(Autoscaler, DoublesOrAddsFourWithinFifteenSeconds) {
  Autoscaler autoscaler({.max_replicas = 100});
  EXPECT_EQ(autoscaler.Update(0, 1, 50), 5);    // four more
  EXPECT_EQ(autoscaler.Update(5, 5, 50), 5);    // used up
  EXPECT_EQ(autoscaler.Update(15, 5, 50), 10);  // twice
  EXPECT_EQ(autoscaler.Update(30, 10, 50), 20);
  EXPECT_EQ(autoscaler.Update(45, 20, 23), 23);
}

TEST(Autoscaler, KeepsToItsBounds) {
  Autoscaler autoscaler({.min_replicas = 2, .max_replicas = 6, .down_window = 0});
  EXPECT_EQ(autoscaler.Update(0, 4, 50), 6);
  EXPECT_EQ(autoscaler.Update(600, 3, 0), 2);
  EXPECT_EQ(autoscaler.Update(1200, 2, 0), 2);
}

TEST(Autoscaler, GoesDownOneAMinuteToTheMostThatWasWantedOfLate) {
  Autoscaler autoscaler({.max_replicas = 20});
  EXPECT_EQ(autoscaler.Update(0, 10, 10), 10);
  int replicas = 10;
  double first = 0;
  for (double now = 15; now <= 600; now += 15) {
    const int next = autoscaler.Update(now, replicas, 7);
    if (next < replicas && first == 0) first = now;
    EXPECT_GE(next, replicas - 1);
    replicas = next;
    // From 300 s on: 9, 8, 7.
    EXPECT_EQ(replicas, now < 300 ? 10 : now < 360 ? 9 : now < 420 ? 8 : 7) << now;
  }
  EXPECT_EQ(first, 300);
}

Sample At(double at, double offered) { return {.at = at, .offered = offered}; }

TEST(Scraped, RateExtrapolatesToTheEndsOfTheWindow) {
  Scraped scraped;
  for (int i = 0; i <= 8; ++i) scraped.Add(At(15.0 * i, 100 + 30.0 * i));
  // Four samples in (62, 122], 90 in 45 s, and 13 s and 2 s at the ends.
  EXPECT_NEAR(scraped.Rate(&Sample::offered, 122, 60), 90 * (60.0 / 45) / 60, 1e-9);
}

TEST(Scraped, RateIsNothingWithOneSampleAndEndsWithItsTarget) {
  Scraped scraped;
  scraped.Add(At(0, 10));
  EXPECT_EQ(scraped.Rate(&Sample::offered, 5, 60), 0);
  scraped.Add(At(15, 25));
  // 15 in 15 s; half a scrape more after the last; 10 s before the first the counter was zero, and
  // the window begins 15 s before it, which is near: 15 s, but no more than those 10.
  EXPECT_NEAR(scraped.Rate(&Sample::offered, 45, 60), 15 * (15 + 10 + 7.5) / 15.0 / 60, 1e-9);
  EXPECT_EQ(scraped.Rate(&Sample::offered, 100, 60), 0);
  EXPECT_TRUE(scraped.IsOlderThan(20));
}

TEST(Scraped, QuantileLiesWithinItsBucket) {
  decltype(Sample::waits) counts{};
  EXPECT_EQ(Quantile(0.9, counts), 0);
  counts[9] = 10;  // .05 to .1 s
  EXPECT_NEAR(Quantile(0.9, counts), 0.095, 1e-9);
  counts.back() = 10;
  EXPECT_EQ(Quantile(0.9, counts), 10);
}

Pattern StepTo(double rate) {
  return {.name = "step", .seconds = 600, .highest = rate, .rate = [rate](double at) {
            return at < 120 ? rate / 5 : rate;
          }};
}

FleetOptions Options(Signal signal, double target) {
  return {.scenario = {{{"model", 2e-3, 23e-3, 0, 32}}, {{.deadline = 0.25}}},
          .signal = signal,
          .target = target};
}

TEST(Fleet, AccountsForEveryRequestAndSecond) {
  const FleetResult result = RunFleet(Options(Signal::kOffered, 0.6), StepTo(100));
  int64_t offered = 0;
  double replica_seconds = 0;
  for (const Interval& one : result.intervals) {
    offered += one.offered;
    replica_seconds += one.replicas * kInterval;
  }
  EXPECT_EQ(result.all.offered, offered);
  EXPECT_NEAR(static_cast<double>(offered), 120 * 20 + 480 * 100, 1000);
  EXPECT_NEAR(result.replica_seconds, replica_seconds, 1e-6 * replica_seconds);
  EXPECT_EQ(result.all.late, 0);
}

// 100 a second of 23 ms and a part of 2 ms each are 2.4 devices' worth, .6 of four.
TEST(Fleet, OfferedLoadFindsTheReplicasThatItIsWorth) {
  const FleetResult result = RunFleet(Options(Signal::kOffered, 0.6), StepTo(100));
  EXPECT_EQ(result.most_replicas, 4);
  const double recovery = result.Recovery(120, 600);
  EXPECT_GT(recovery, 30);
  EXPECT_LT(recovery, 120);
}

// What is refused is in no queue: with room for some ten requests a pod never holds twenty.
TEST(Fleet, InFlightNeverAddsAPodWhereItsTargetIsAboveWhatAdmissionAllows) {
  const FleetResult result = RunFleet(Options(Signal::kInFlight, 20), StepTo(100));
  EXPECT_EQ(result.most_replicas, 1);
  EXPECT_LT(result.in_time_share(), 0.5);
}

}  // namespace
}  // namespace spatialmamba::simulation
