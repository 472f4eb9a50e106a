// Batching policies compared in virtual time: the server's own against what users run instead.
// Without arguments the cases of RESULTS.md; with --scenario any mixture of models and requests.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tests/bench/simulation.h"

namespace spatialmamba::simulation {
namespace {

struct NamedPolicy {
  std::string name;
  PolicyMaker make;
};

std::vector<NamedPolicy> Policies(const Scenario& scenario) {
  double shortest = scenario.streams.front().deadline;
  for (const Stream& stream : scenario.streams) shortest = std::min(shortest, stream.deadline);
  const auto wait = [shortest](const Scenario& of) { return FixedWait(of, 0.1 * shortest); };
  return {{"greedy", Greedy},
          {"wait .1 deadline", wait},
          {"one shape", OneShape},
          {"AIMD", Aimd},
          {"server", Server}};
}

// Throws std::runtime_error that names the file and what is wrong in it.
Scenario ReadScenario(const std::string& file) {
  try {
    std::ifstream in(file);
    if (!in) throw std::runtime_error("cannot be read");
    const nlohmann::json json = nlohmann::json::parse(in);
    Scenario scenario;
    for (const auto& one : json.at("models")) {
      scenario.models.push_back({.name = one.at("name"),
                                 .fixed = one.at("fixed_ms").get<double>() / 1000,
                                 .per_image = one.at("per_image_ms").get<double>() / 1000,
                                 .noise = one.value("noise", 0.0),
                                 .max_batch = one.value("max_batch", int64_t{32})});
    }
    for (const auto& one : json.at("streams")) {
      const auto& models = scenario.models;
      const auto model = std::find_if(models.begin(), models.end(), [&](const Model& candidate) {
        return candidate.name == one.at("model");
      });
      if (model == models.end()) throw std::runtime_error("a stream names an unknown model");
      scenario.streams.push_back({.model = static_cast<int>(model - models.begin()),
                                  .size = one.value("size", 1.0),
                                  .deadline = one.at("deadline_ms").get<double>() / 1000,
                                  .weight = one.value("weight", 1.0),
                                  .caller = one.value("caller", uint64_t{0}),
                                  .cancelled = one.value("cancelled", 0.0),
                                  .cancel_after = one.value("cancel_after_ms", 0.0) / 1000});
    }
    if (scenario.streams.empty()) throw std::runtime_error("it has no streams");
    return scenario;
  } catch (const std::exception& error) {
    throw std::runtime_error("scenario " + file + ": " + error.what());
  }
}

std::vector<double> ReadArrivals(const std::string& file) {
  std::ifstream in(file);
  std::vector<double> arrivals;
  for (double at = 0; in >> at;) arrivals.push_back(at);
  if (arrivals.empty() || !in.eof() || !std::is_sorted(arrivals.begin(), arrivals.end())) {
    throw std::runtime_error("arrivals " + file + ": not a list of rising seconds");
  }
  return arrivals;
}

struct Arguments {
  std::string scenario;
  std::string arrivals = "poisson";
  std::vector<double> loads = {0.65, 0.75, 1.2, 1.5, 3};
  double on = 1;
  double off = 1;
  int64_t count = 60'000;
  uint64_t seed = 1;
};

std::vector<double> Arrivals(const Arguments& arguments, double rate) {
  if (arguments.arrivals == "poisson") {
    return PoissonArrivals(rate, arguments.count, arguments.seed);
  }
  if (arguments.arrivals == "bursts") {
    return BurstArrivals(rate, arguments.on, arguments.off, arguments.count, arguments.seed);
  }
  return ReadArrivals(arguments.arrivals);
}

void PrintPoint(const std::string& policy, const std::string& load, const Result& result,
                double offline) {
  const Tally& all = result.all;
  const auto share = [&](int64_t count) {
    return 100.0 * static_cast<double>(count) /
           static_cast<double>(std::max<int64_t>(1, all.offered));
  };
  std::printf("  %-17s %8s %9.1f %8.2f %8.2f %8.2f %8.2f %9.2f %7.2f %6.1f\n", policy.c_str(),
              load.c_str(), share(all.in_time), share(all.late), share(all.refused),
              share(all.dropped), share(all.cancelled), result.goodput() / offline,
              result.busy / result.until,
              result.batches == 0
                  ? 0.0
                  : static_cast<double>(result.images) / static_cast<double>(result.batches));
}

void Compare(const std::string& title, const Scenario& scenario, const Arguments& arguments) {
  const double offline = OfflineRate(scenario);
  std::printf("%s: offline rate %.1f/s\n", title.c_str(), offline);
  std::printf("  %-17s %8s %9s %8s %8s %8s %8s %9s %7s %6s\n", "policy", "load", "in time %",
              "late %", "refused", "dropped", "cancel.", "goodput/o", "busy", "batch");
  const bool recorded = arguments.arrivals != "poisson" && arguments.arrivals != "bursts";
  for (const NamedPolicy& policy : Policies(scenario)) {
    for (const double load : recorded ? std::vector<double>{0} : arguments.loads) {
      const auto jobs =
          MakeJobs(Arrivals(arguments, load * offline), scenario.streams, arguments.seed);
      const auto instance = policy.make(scenario);
      char label[32];
      std::snprintf(label, sizeof(label), "%.2f", load);
      PrintPoint(policy.name, recorded ? "-" : label,
                 Run(scenario, jobs, *instance, arguments.seed), offline);
    }
  }
}

// Requests a second of which 99 % are answered in time.
void PrintHighestRates(const Arguments& arguments) {
  struct Case {
    const char* name;
    Scenario scenario;
  };
  const auto one = [](double fixed, double per_image, double deadline) {
    return Scenario{{{"model", fixed, per_image, 0, 64}}, {{.deadline = deadline}}};
  };
  const Case cases[] = {{"H100 tiny, .30+.028b ms, 2 ms", one(.30e-3, .028e-3, 2e-3)},
                        {"H100 UPerNet, .5+.9b ms, 5 ms", one(.5e-3, .9e-3, 5e-3)},
                        {"CPU tiny, 2+8b ms, 100 ms", one(2e-3, 8e-3, .1)}};
  std::printf("requests a second at which 99 %% are answered in time (%lld Poisson arrivals):\n",
              static_cast<long long>(arguments.count));
  for (const Case& one_case : cases) {
    std::printf("  %-32s", one_case.name);
    for (const NamedPolicy& policy : Policies(one_case.scenario)) {
      std::printf(
          "  %s %.0f", policy.name.c_str(),
          HighestRate(one_case.scenario, policy.make, 0.99, arguments.count, arguments.seed));
    }
    std::printf("  offline %.0f\n", OfflineRate(one_case.scenario));
  }
  for (const Case& one_case : cases) Compare(one_case.name, one_case.scenario, arguments);
}

}  // namespace

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Compares batching policies in virtual time.");
  app.add_option(
      "--scenario", arguments.scenario,
      "JSON: {\"models\": [{name, fixed_ms, per_image_ms, noise, max_batch}], \"streams\": "
      "[{model, size, deadline_ms, weight, caller, cancelled, cancel_after_ms}]}");
  app.add_option("--arrivals", arguments.arrivals,
                 "poisson, bursts, or a file of seconds, one an arrival");
  app.add_option("--load", arguments.loads, "offered rates, as shares of the offline rate");
  app.add_option("--on", arguments.on, "seconds of a burst");
  app.add_option("--off", arguments.off, "seconds between bursts");
  app.add_option("--count", arguments.count, "arrivals")->check(CLI::Range(1, 100'000'000));
  app.add_option("--seed", arguments.seed);
  CLI11_PARSE(app, argc, argv);
  try {
    if (arguments.scenario.empty()) {
      PrintHighestRates(arguments);
    } else {
      Compare(arguments.scenario, ReadScenario(arguments.scenario), arguments);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "simulate: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace spatialmamba::simulation

int main(int argc, char** argv) { return spatialmamba::simulation::Main(argc, argv); }
