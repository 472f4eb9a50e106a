#include "tests/bench/simulation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace spatialmamba::simulation {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

double Deadline(const Scenario& scenario, const Job& job) {
  return job.arrival + scenario.streams[static_cast<size_t>(job.stream)].deadline;
}

double TimeOf(const Scenario& scenario, const std::vector<Job>& batch) {
  const auto stream = [&](const Job& job) -> const Stream& {
    return scenario.streams[static_cast<size_t>(job.stream)];
  };
  const Model& model = scenario.models[static_cast<size_t>(stream(batch.front()).model)];
  double size = 0;
  for (const Job& job : batch) size += stream(job).size;
  return model.fixed + model.per_image * size;
}

}  // namespace

std::vector<double> PoissonArrivals(double rate, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(rate);
  std::vector<double> arrivals;
  double now = 0;
  for (int64_t i = 0; i < count; ++i) arrivals.push_back(now += gap(random));
  return arrivals;
}

std::vector<double> BurstArrivals(double rate, double on, double off, int64_t count,
                                  uint64_t seed) {
  // Drawn in the time of the bursts alone, then stretched by the pauses.
  std::vector<double> arrivals = PoissonArrivals(rate * (on + off) / on, count, seed);
  for (double& at : arrivals) at += std::floor(at / on) * off;
  return arrivals;
}

std::vector<Job> MakeJobs(const std::vector<double>& arrivals, const std::vector<Stream>& streams,
                          uint64_t seed) {
  std::mt19937_64 random(seed + 1);
  std::vector<double> weights;
  for (const Stream& stream : streams) weights.push_back(stream.weight);
  std::discrete_distribution<int> choose(weights.begin(), weights.end());
  std::uniform_real_distribution<double> uniform;
  std::vector<Job> jobs;
  for (const double arrival : arrivals) {
    Job job{.id = static_cast<int64_t>(jobs.size()), .arrival = arrival, .stream = choose(random)};
    const Stream& stream = streams[static_cast<size_t>(job.stream)];
    if (uniform(random) < stream.cancelled) job.cancel_at = arrival + stream.cancel_after;
    jobs.push_back(job);
  }
  return jobs;
}

Result Run(const Scenario& scenario, const std::vector<Job>& jobs, Policy& policy, uint64_t seed) {
  std::mt19937_64 random(seed + 2);
  std::normal_distribution<double> normal;
  Result result;
  result.streams.resize(scenario.streams.size());
  enum class Fate { kWaiting, kRefused, kInTime, kLate, kCancelled };
  std::vector<Fate> fates(jobs.size(), Fate::kWaiting);

  size_t next = 0;
  double now = 0;
  std::vector<Job> running;
  double begun = 0;
  double until = kNever;
  const auto start = [&] {
    running = policy.NextBatch(now);
    if (running.empty()) return;
    const Model& model = scenario.models[static_cast<size_t>(
        scenario.streams[static_cast<size_t>(running.front().stream)].model)];
    begun = now;
    until = now + TimeOf(scenario, running) * std::exp(model.noise * normal(random));
    ++result.batches;
    result.images += static_cast<int64_t>(running.size());
    for (const Job& job : running) {
      const bool in_vain = job.cancel_at <= now || Deadline(scenario, job) <= now;
      result.streams[static_cast<size_t>(job.stream)].executed_in_vain += in_vain ? 1 : 0;
    }
  };
  for (;;) {
    const double arrival = next < jobs.size() ? jobs[next].arrival : kNever;
    // What waits for a moment is asked again at that moment, a free device provided.
    const double wakeup = running.empty() ? std::max(now, policy.NextWakeup()) : kNever;
    const double at = std::min({arrival, until, wakeup});
    if (at == kNever) break;
    now = at;
    if (at == until) {
      for (const Job& job : running) {
        const bool in_time = now <= Deadline(scenario, job);
        fates[static_cast<size_t>(job.id)] = job.cancel_at < now ? Fate::kCancelled
                                             : in_time           ? Fate::kInTime
                                                                 : Fate::kLate;
      }
      result.busy += now - begun;
      running.clear();
      until = kNever;
      policy.Finished(now - begun, now);
    } else if (at == arrival) {
      const Job& job = jobs[next++];
      if (!policy.Arrive(job, now)) fates[static_cast<size_t>(job.id)] = Fate::kRefused;
    }
    if (running.empty()) start();
  }
  for (const Job& job : jobs) {
    Tally& tally = result.streams[static_cast<size_t>(job.stream)];
    ++tally.offered;
    switch (fates[static_cast<size_t>(job.id)]) {
      case Fate::kWaiting:
        ++(job.cancel_at < Deadline(scenario, job) ? tally.cancelled : tally.dropped);
        break;
      case Fate::kRefused:
        ++tally.refused;
        break;
      case Fate::kInTime:
        ++tally.in_time;
        break;
      case Fate::kLate:
        ++tally.late;
        break;
      case Fate::kCancelled:
        ++tally.cancelled;
        break;
    }
  }
  for (const Tally& tally : result.streams) {
    result.all.offered += tally.offered;
    result.all.in_time += tally.in_time;
    result.all.late += tally.late;
    result.all.refused += tally.refused;
    result.all.dropped += tally.dropped;
    result.all.cancelled += tally.cancelled;
    result.all.executed_in_vain += tally.executed_in_vain;
  }
  result.seconds = jobs.empty() ? 0 : jobs.back().arrival - jobs.front().arrival;
  result.until = now;
  return result;
}

double OfflineRate(const Scenario& scenario) { return OfflineRate(scenario, kNever); }

double OfflineRate(const Scenario& scenario, double deadline) {
  // Seconds of device time that an average request takes in a full batch of its model.
  double seconds = 0;
  double weights = 0;
  for (const Stream& stream : scenario.streams) {
    const Model& model = scenario.models[static_cast<size_t>(stream.model)];
    const double each = model.per_image * stream.size;
    double batch = static_cast<double>(model.max_batch);
    if (deadline != kNever) {
      batch = std::clamp(std::floor((deadline - model.fixed) / each), 1.0, batch);
    }
    seconds += stream.weight * (model.fixed / batch + each);
    weights += stream.weight;
  }
  return weights / seconds;
}

double HighestRate(const Scenario& scenario, const PolicyMaker& make, double share, int64_t count,
                   uint64_t seed) {
  double low = 0;
  double high = 1.2 * OfflineRate(scenario);
  for (int i = 0; i < 12; ++i) {
    const double rate = (low + high) / 2;
    const auto jobs = MakeJobs(PoissonArrivals(rate, count, seed), scenario.streams, seed);
    const auto policy = make(scenario);
    (Run(scenario, jobs, *policy, seed).in_time_share() >= share ? low : high) = rate;
  }
  return low;
}

}  // namespace spatialmamba::simulation
