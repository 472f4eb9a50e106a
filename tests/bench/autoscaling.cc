// Signals to scale a fleet by, compared in virtual time: the server's own policy in every replica,
// Prometheus between them and a HorizontalPodAutoscaler. Each signal gets its target by the same
// rule: the highest with which enough requests are answered in time on a ramp and over a day.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tests/bench/fleet.h"

namespace spatialmamba::simulation {
namespace {

struct Arguments {
  std::vector<std::string> devices = {"cpu", "gpu"};
  std::string json;
  double share = 0.99;
  FleetOptions fleet{.rules = {.max_replicas = 20}};
};

// Measured curves (RESULTS.md), deadlines of ten service times.
Scenario ScenarioOf(const std::string& device) {
  // tiny at 224x224 in fp32 on two cores.
  if (device == "cpu") return {{{"tiny", 2.2e-3, 24.5e-3, 0.05, 32}}, {{.deadline = 0.291}}};
  // tiny at 224x224 in bf16 on an H200, a hundred times as slow, so that there are fewer arrivals.
  return {{{"tiny", 0.106, 11.8e-3, 0.05, 64}}, {{.deadline = 1.178}}};
}

constexpr double kStepAt = 600;
constexpr double kStepEnd = 1500;

double DeviceRate(const Scenario& scenario) {
  return OfflineRate(scenario, scenario.streams.front().deadline);
}

// In devices' worth of arrivals, at the highest rate of one device within the deadline.
std::vector<Pattern> Patterns(const Scenario& scenario) {
  const double device = DeviceRate(scenario);
  const auto pattern = [device](const char* name, double seconds, double highest, auto devices) {
    return Pattern{.name = name,
                   .seconds = seconds,
                   .highest = highest * device,
                   .rate = [=](double at) { return device * devices(at); },
                   .counted_from = 300};
  };
  return {
      pattern("ramp", 2400, 5,
              [](double at) { return std::clamp(0.5 + 4.5 * (at - 600) / 1200, 0.5, 5.0); }),
      pattern("day", 3900, 5,
              [](double at) {
                const double turn = 2 * std::numbers::pi * std::max(0.0, at - 300) / 3600;
                return 0.5 + 4.5 * (1 - std::cos(turn)) / 2;
              }),
      pattern("step", 2700, 5,
              [](double at) { return at >= kStepAt && at < kStepEnd ? 5.0 : 1.0; }),
      pattern("bursts", 2700, 4,
              [](double at) { return at >= 600 && std::fmod(at, 300) < 30 ? 4.0 : 1.5; }),
  };
}

// From the cheapest to the dearest.
std::vector<double> Targets(Signal signal) {
  switch (signal) {
    case Signal::kOffered:
      return {2,    1.75, 1.5,  1.25, 1.1,  1,   0.95, 0.9, 0.85, 0.8,
              0.75, 0.7,  0.65, 0.6,  0.55, 0.5, 0.45, 0.4, 0.35, 0.3};
    case Signal::kCpu:
    case Signal::kGpuUtilisation:
      return {0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3};
    case Signal::kQueueTime:  // seconds
      return {1, 0.7, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.035, 0.025, 0.015};
    case Signal::kInFlight:
      return {100, 80, 60,  50, 40,  30, 20,  15,   12, 10,   8,  6,
              5,   4,  3.5, 3,  2.5, 2,  1.5, 1.25, 1,  0.75, 0.5};
  }
  return {};
}

nlohmann::json Summary(const Pattern& pattern, const FleetResult& result) {
  nlohmann::json json{{"pattern", pattern.name},
                      {"offered", result.all.offered},
                      {"in_time", result.all.in_time},
                      {"late", result.all.late},
                      {"refused", result.all.refused},
                      {"given_up", result.all.dropped},
                      {"in_time_share", result.in_time_share()},
                      {"mean_replicas", result.mean_replicas},
                      {"most_replicas", result.most_replicas},
                      {"replica_hours", result.replica_seconds / 3600}};
  if (pattern.name == "step") {
    const double recovery = result.Recovery(kStepAt, kStepEnd);
    json["recovery_seconds"] = recovery < 0 ? nlohmann::json() : nlohmann::json(recovery);
  }
  return json;
}

void Print(const std::string& name, double target, const nlohmann::json& summary) {
  const double offered = summary["offered"];
  std::string recovery;
  if (summary.contains("recovery_seconds")) {
    const auto& seconds = summary["recovery_seconds"];
    recovery = seconds.is_null() ? "never" : std::to_string(seconds.get<int>()) + " s";
  }
  std::printf("  %-16s %7.3g  %-7s %9.2f %9.2f %7.2f %9.2f %5d %9.2f %9s\n", name.c_str(), target,
              summary["pattern"].get<std::string>().c_str(),
              100 * summary["in_time"].get<double>() / offered,
              100 * summary["refused"].get<double>() / offered,
              100 * (summary["late"].get<double>() + summary["given_up"].get<double>()) / offered,
              summary["mean_replicas"].get<double>(), summary["most_replicas"].get<int>(),
              summary["replica_hours"].get<double>(), recovery.c_str());
  std::fflush(stdout);
}

nlohmann::json Series(const FleetResult& result) {
  nlohmann::json json{{"seconds", kInterval}};
  for (const Interval& one : result.intervals) {
    json["offered"].push_back(one.offered);
    json["in_time"].push_back(one.in_time);
    json["replicas"].push_back(one.replicas);
  }
  return json;
}

// Tries the targets from the cheapest on, until one is good enough; of none, the last.
nlohmann::json Sweep(double share, FleetOptions& options, const std::vector<Pattern>& patterns) {
  nlohmann::json tried = nlohmann::json::array();
  for (const double target : Targets(options.signal)) {
    options.target = target;
    bool enough = true;
    for (size_t i = 0; i < 2 && enough; ++i) {
      const FleetResult result = RunFleet(options, patterns[i]);
      enough = result.in_time_share() >= share;
      tried.push_back(Summary(patterns[i], result));
      tried.back()["target"] = target;
      Print(NameOf(options.signal), target, tried.back());
    }
    if (enough) return tried;
  }
  std::printf("  %s: no target is enough\n", NameOf(options.signal));
  return tried;
}

nlohmann::json Compare(const std::string& device, double share, FleetOptions options,
                       const std::vector<Pattern>& patterns) {
  std::printf("  %-16s %7s  %-7s %9s %9s %7s %9s %5s %9s %9s\n", "signal", "target", "pattern",
              "in time %", "refused %", "late %", "replicas", "most", "hours", "recovery");
  nlohmann::json found = nlohmann::json::array();
  for (const Signal signal : kSignals) {
    if (signal == (device == "cpu" ? Signal::kGpuUtilisation : Signal::kCpu)) continue;
    options.signal = signal;
    nlohmann::json one{{"signal", NameOf(signal)}, {"sweep", Sweep(share, options, patterns)}};
    one["target"] = options.target;
    for (const Pattern& pattern : patterns) {
      const FleetResult result = RunFleet(options, pattern);
      nlohmann::json summary = Summary(pattern, result);
      Print(std::string("* ") + NameOf(signal), options.target, summary);
      summary["series"] = Series(result);
      one["patterns"].push_back(std::move(summary));
    }
    found.push_back(std::move(one));
  }
  return found;
}

// What other targets of the offered load would bring, on every pattern, also if pods start slowly.
nlohmann::json TradeOff(FleetOptions options, const std::vector<Pattern>& patterns) {
  nlohmann::json found = nlohmann::json::array();
  options.signal = Signal::kOffered;
  for (const double start_up : {options.start_up, 4 * options.start_up}) {
    options.start_up = start_up;
    std::printf("targets of the offered load, pods ready after %.0f s\n", start_up);
    for (int tenths = 4; tenths <= 10; ++tenths) {
      options.target = tenths / 10.0;
      for (const Pattern& pattern : patterns) {
        found.push_back(Summary(pattern, RunFleet(options, pattern)));
        found.back()["target"] = options.target;
        found.back()["start_up"] = start_up;
        Print(NameOf(options.signal), options.target, found.back());
      }
    }
  }
  return found;
}

nlohmann::json Simulate(const Arguments& arguments) {
  nlohmann::json found = nlohmann::json::array();
  for (const std::string& device : arguments.devices) {
    FleetOptions options = arguments.fleet;
    options.scenario = ScenarioOf(device);
    const std::vector<Pattern> patterns = Patterns(options.scenario);
    const double rate = DeviceRate(options.scenario);
    std::printf("%s: a device does %.1f requests a second\n", device.c_str(), rate);
    nlohmann::json one{{"device", device}, {"device_rate", rate}};
    one["signals"] = Compare(device, arguments.share, options, patterns);
    one["trade_off"] = TradeOff(options, patterns);
    found.push_back(std::move(one));
  }
  return found;
}

}  // namespace

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Compares signals to scale a fleet by, in virtual time.");
  app.add_option("--devices", arguments.devices, "cpu, gpu: whose measured times")
      ->check(CLI::IsMember({"cpu", "gpu"}));
  app.add_option("--json", arguments.json, "a file for all that was found");
  app.add_option("--share", arguments.share, "of requests answered in time, for a target's choice")
      ->check(CLI::Range(0.5, 1.0));
  app.add_option("--start-up", arguments.fleet.start_up, "seconds until a new pod is ready")
      ->check(CLI::Range(0, 600));
  app.add_option("--seed", arguments.fleet.seed);
  CLI11_PARSE(app, argc, argv);
  try {
    const nlohmann::json found = Simulate(arguments);
    if (arguments.json.empty()) return 0;
    std::ofstream out(arguments.json);
    if (!(out << found.dump() << '\n').flush()) {
      throw std::runtime_error("cannot write " + arguments.json);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "autoscaling: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace spatialmamba::simulation

int main(int argc, char** argv) { return spatialmamba::simulation::Main(argc, argv); }
