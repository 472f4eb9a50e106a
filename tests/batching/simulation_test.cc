// The server's policy in virtual time, by its real classes: what it promises, for many thousand
// requests at a time.
#include "tests/bench/simulation.h"

#include <gtest/gtest.h>

namespace spatialmamba::simulation {
namespace {

constexpr int64_t kCount = 20'000;

Result Simulate(const Scenario& scenario, const PolicyMaker& make, double load, uint64_t seed = 1) {
  const auto arrivals = PoissonArrivals(load * OfflineRate(scenario), kCount, seed);
  const auto policy = make(scenario);
  return Run(scenario, MakeJobs(arrivals, scenario.streams, seed), *policy, seed);
}

Scenario One(double fixed, double per_image, double deadline, double noise = 0) {
  return {{{"model", fixed, per_image, noise, 64}}, {{.deadline = deadline}}};
}

// A model that gains little by batching, with a deadline of ten service times.
Scenario Cpu(double noise = 0) { return One(2e-3, 27e-3, 0.29, noise); }
// Models that gain much: fast and slow against their deadlines.
Scenario GpuTiny() { return One(.30e-3, .028e-3, 2e-3); }
Scenario GpuUperNet() { return One(.5e-3, .9e-3, 5e-3); }

TEST(Simulation, NothingIsRefusedOrLateAtModerateLoad) {
  const Result result = Simulate(Cpu(), Server, 0.6);
  EXPECT_EQ(result.all.late, 0);
  EXPECT_EQ(result.all.dropped, 0);
  EXPECT_LE(result.all.refused, kCount / 1000);
}

TEST(Simulation, AtMostOnePercentIsRefusedAtThreeQuartersOfTheOfflineRate) {
  const Result result = Simulate(Cpu(), Server, 0.75);
  EXPECT_GE(result.in_time_share(), 0.99);
  EXPECT_EQ(result.all.late, 0);
}

TEST(Simulation, WhatIsAdmittedIsAnsweredInTimeHoweverHighTheLoad) {
  for (const double load : {0.9, 1.5, 3.0, 20.0}) {
    const Result result = Simulate(Cpu(), Server, load);
    EXPECT_EQ(result.all.late, 0) << load;
    EXPECT_EQ(result.all.dropped, 0) << load;
    EXPECT_EQ(result.all.executed_in_vain, 0) << load;
  }
}

TEST(Simulation, GoodputHoldsUnderOverload) {
  for (const double load : {1.2, 1.5, 3.0}) {
    EXPECT_GE(Simulate(Cpu(), Server, load).goodput() / OfflineRate(Cpu()), 0.85) << load;
    EXPECT_GE(Simulate(GpuTiny(), Server, load).goodput() / OfflineRate(GpuTiny()), 0.7) << load;
    EXPECT_GE(Simulate(GpuUperNet(), Server, load).goodput() / OfflineRate(GpuUperNet()), 0.6)
        << load;
  }
}

TEST(Simulation, NoPeerHoldsItsGoodputUnderOverload) {
  const Scenario scenario = Cpu();
  const auto wait = [](const Scenario& of) { return FixedWait(of, 0.029); };
  for (const PolicyMaker& peer :
       {PolicyMaker(Greedy), PolicyMaker(wait), PolicyMaker(OneShape), PolicyMaker(Aimd)}) {
    EXPECT_LT(Simulate(scenario, peer, 1.5).in_time_share(), 0.1);
  }
}

TEST(Simulation, TheHighestRateWithinTheDeadlineIsNoLowerThanThatOfAnyPeer) {
  for (const Scenario& scenario : {GpuTiny(), GpuUperNet(), One(2e-3, 8e-3, 0.1), Cpu()}) {
    const double own = HighestRate(scenario, Server, 0.99, kCount, 1);
    for (const PolicyMaker& peer :
         {PolicyMaker(Greedy), PolicyMaker(OneShape), PolicyMaker(Aimd)}) {
      EXPECT_GE(own, 0.99 * HighestRate(scenario, peer, 0.99, kCount, 1))
          << scenario.models[0].fixed;
    }
  }
}

// Batches take up to half as long again as predicted, at random.
TEST(Simulation, ANoisyMachineMakesFewRequestsLate) {
  const Result result = Simulate(Cpu(0.15), Server, 0.65);
  EXPECT_GE(result.in_time_share(), 0.99);
  EXPECT_EQ(result.all.executed_in_vain, 0);
}

TEST(Simulation, NothingIsExecutedForWhoHasGone) {
  Scenario scenario = Cpu();
  scenario.streams[0].cancelled = 0.5;
  scenario.streams[0].cancel_after = 0.03;
  const Result result = Simulate(scenario, Server, 1.2);
  EXPECT_EQ(result.all.executed_in_vain, 0);
  EXPECT_GT(result.all.cancelled, kCount / 10);
  const Result peer = Simulate(scenario, Greedy, 1.2);
  EXPECT_GT(peer.all.executed_in_vain, kCount / 10);
}

// Small and large images, short and long deadlines, two models, at a load that leaves room.
TEST(Simulation, AMixtureIsServedInTimeWhateverItsSizesAndDeadlines) {
  const Scenario scenario{{{"small", 1e-3, 5e-3, 0, 32}, {"large", 5e-3, 40e-3, 0, 8}},
                          {{.model = 0, .size = 1, .deadline = 0.3, .weight = 10, .caller = 1},
                           {.model = 0, .size = 4, .deadline = 1.0, .weight = 2, .caller = 2},
                           {.model = 1, .size = 1, .deadline = 2.0, .weight = 1, .caller = 3}}};
  const Result result = Simulate(scenario, Server, 0.6);
  EXPECT_GE(result.in_time_share(), 0.995);
  for (const Tally& stream : result.streams) {
    EXPECT_GE(static_cast<double>(stream.in_time) / static_cast<double>(stream.offered), 0.98);
  }
}

// Four fifths of the requests are one caller's flood, at three times what the device can do.
TEST(Simulation, AFloodDoesNotStarveTheOtherCaller) {
  const Scenario scenario{
      {{"model", 2e-3, 27e-3, 0, 32}},
      {{.deadline = 0.3, .weight = 9, .caller = 1}, {.deadline = 0.3, .weight = 0.5, .caller = 2}}};
  const Result result = Simulate(scenario, Server, 3);
  const Tally& other = result.streams[1];
  EXPECT_GE(static_cast<double>(other.in_time) / static_cast<double>(other.offered), 0.95);
  EXPECT_GE(result.goodput() / OfflineRate(scenario), 0.8);
}

TEST(Simulation, BurstsAreServedAsFarAsTheDeadlineReaches) {
  const Scenario scenario = Cpu();
  const auto arrivals = BurstArrivals(0.5 * OfflineRate(scenario), 0.2, 0.2, kCount, 1);
  const auto policy = Server(scenario);
  const Result result =
      simulation::Run(scenario, MakeJobs(arrivals, scenario.streams, 1), *policy, 1);
  EXPECT_EQ(result.all.late, 0);
  EXPECT_GE(result.in_time_share(), 0.95);
}

TEST(Simulation, ArrivalsHaveTheRateThatWasAskedForAndDependOnTheSeedAlone) {
  const auto poisson = PoissonArrivals(50, kCount, 3);
  EXPECT_NEAR(static_cast<double>(kCount) / poisson.back(), 50, 1.5);
  EXPECT_EQ(poisson, PoissonArrivals(50, kCount, 3));
  EXPECT_NE(poisson, PoissonArrivals(50, kCount, 4));
  const auto bursts = BurstArrivals(50, 1, 3, kCount, 3);
  EXPECT_NEAR(static_cast<double>(kCount) / bursts.back(), 50, 1.5);
}

}  // namespace
}  // namespace spatialmamba::simulation
