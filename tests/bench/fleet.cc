#include "tests/bench/fleet.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include "tests/bench/scraped.h"
#include "tests/bench/signals.h"

namespace spatialmamba::simulation {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

struct Replica {
  explicit Replica(const Scenario& scenario) : policy(Server(scenario)) {}

  bool Computes() const { return !running.empty(); }

  std::unique_ptr<Policy> policy;
  double created = 0;
  double ready_at = 0;
  bool draining = false;
  double next_scrape = 0;
  std::vector<Job> running;
  double begun = 0;
  double until = kNever;
  Sample counters;
  Scraped scraped;
};

class Fleet {
 public:
  Fleet(const FleetOptions& options, const Pattern& pattern)
      : options_(options),
        pattern_(pattern),
        model_(options.scenario.models.front()),
        stream_(options.scenario.streams.front()),
        autoscaler_(options.rules),
        arrivals_(options.seed),
        times_(options.seed + 1) {
    result_.intervals.resize(static_cast<size_t>(std::ceil(pattern.seconds / kInterval)));
    for (size_t i = 0; i < result_.intervals.size(); ++i) {
      result_.intervals[i].at = kInterval * static_cast<double>(i);
    }
    for (int i = 0; i < options.rules.min_replicas; ++i) Create(-options.start_up);
  }

  FleetResult Run() {
    DrawArrival();
    double look = options_.rules.sync;
    for (;;) {
      Replica* const busy = FirstToFinish();
      const double finish = busy == nullptr ? kNever : busy->until;
      // After the last arrival only what runs comes to its end.
      const double last = arrival_ == kNever && finish == kNever ? kNever : look;
      const double at = std::min({arrival_, finish, last, next_scrape_});
      if (std::min({arrival_, finish, last}) == kNever) break;
      now_ = at;
      if (at == finish) {
        Finish(*busy);
      } else if (at == next_scrape_) {
        Scrape();
      } else if (at == look) {
        Scale();
        look += options_.rules.sync;
      } else {
        Arrive();
        DrawArrival();
      }
    }
    CountReplicas();
    return std::move(result_);
  }

 private:
  bool Ready(const Replica& one) const { return !one.draining && one.ready_at <= now_; }

  // A Poisson process whose rate changes: drawn at the highest rate, then thinned.
  void DrawArrival() {
    double at = drawn_;
    std::exponential_distribution<double> gap(pattern_.highest);
    std::uniform_real_distribution<double> uniform;
    do {
      at += gap(arrivals_);
    } while (at < pattern_.seconds && uniform(arrivals_) * pattern_.highest > pattern_.rate(at));
    drawn_ = at;
    arrival_ = at < pattern_.seconds ? at : kNever;
  }

  Replica* FirstToFinish() {
    Replica* first = nullptr;
    for (const auto& one : replicas_) {
      if (one->Computes() && (first == nullptr || one->until < first->until)) first = one.get();
    }
    return first;
  }

  Interval& IntervalOf(double at) {
    const auto index = static_cast<size_t>(at / kInterval);
    return result_.intervals[std::min(index, result_.intervals.size() - 1)];
  }

  Replica& NextInTurn() {
    for (;;) {
      Replica& one = *replicas_[turn_++ % replicas_.size()];
      if (Ready(one)) return one;
    }
  }

  void Arrive() {
    Replica& replica = NextInTurn();
    const Job job{.id = jobs_++, .arrival = now_};
    Interval& interval = IntervalOf(now_);
    const bool counted = now_ >= pattern_.counted_from;
    ++interval.offered;
    result_.all.offered += counted ? 1 : 0;
    replica.counters.offered += replica.policy->Predicted(job);
    if (!replica.policy->Arrive(job, now_)) {
      ++interval.refused;
      result_.all.refused += counted ? 1 : 0;
      return;
    }
    if (!replica.Computes()) Start(replica);
  }

  void Start(Replica& replica) {
    replica.running = replica.policy->NextBatch(now_);
    if (!replica.Computes()) return;
    const auto images = static_cast<double>(replica.running.size());
    replica.begun = now_;
    replica.until = now_ + (model_.fixed + model_.per_image * stream_.size * images) *
                               std::exp(model_.noise * normal_(times_));
    for (const Job& job : replica.running) {
      const auto bound =
          std::lower_bound(kWaitBounds.begin(), kWaitBounds.end(), now_ - job.arrival);
      ++replica.counters.waits[static_cast<size_t>(bound - kWaitBounds.begin())];
    }
  }

  void Finish(Replica& replica) {
    for (const Job& job : replica.running) {
      const bool in_time = now_ <= job.arrival + stream_.deadline;
      IntervalOf(job.arrival).in_time += in_time ? 1 : 0;
      if (job.arrival >= pattern_.counted_from) {
        ++(in_time ? result_.all.in_time : result_.all.late);
      }
    }
    const double taken = now_ - replica.begun;
    replica.counters.busy += taken;
    replica.running.clear();
    replica.until = kNever;
    replica.policy->Finished(taken, now_);
    Start(replica);
    if (replica.draining && !replica.Computes()) End(replica);
  }

  void Scrape() {
    next_scrape_ = kNever;
    for (const auto& one : replicas_) {
      if (one->next_scrape <= now_) {
        Sample sample = one->counters;
        sample.at = now_;
        sample.in_flight =
            static_cast<double>(one->policy->Waiting()) + static_cast<double>(one->running.size());
        one->scraped.Add(sample);
        one->next_scrape += options_.scrape;
      }
      next_scrape_ = std::min(next_scrape_, one->next_scrape);
    }
    if (arrival_ == kNever) next_scrape_ = kNever;
  }

  // What Prometheus has.
  int Wanted(Pods pods) const {
    Observed observed{.now = now_, .pods = pods};
    for (const Scraped& one : ended_) observed.all.push_back(&one);
    for (const auto& one : replicas_) {
      observed.all.push_back(&one->scraped);
      // Of two scrapes at least.
      const bool known = now_ >= one->ready_at + 2 * options_.scrape;
      if (known && Ready(*one)) observed.ready.push_back(&one->scraped);
    }
    return WantedBy(options_.signal, options_.target, options_.rules.tolerance, observed);
  }

  void Scale() {
    std::erase_if(ended_, [&](const Scraped& one) { return one.IsOlderThan(now_ - 300); });
    Pods pods;
    for (const auto& one : replicas_) {
      pods.all += one->draining ? 0 : 1;
      pods.ready += Ready(*one) ? 1 : 0;
    }
    const int next = autoscaler_.Update(now_, pods.all, Wanted(pods));
    for (int i = pods.all; i < next; ++i) Create(now_);
    for (int i = pods.all; i > next; --i) Remove();
    result_.most_replicas = std::max(result_.most_replicas, next);
  }

  void Create(double at) {
    auto one = std::make_unique<Replica>(options_.scenario);
    one->created = at;
    one->ready_at = at + options_.start_up;
    // Each target has its own place within the interval.
    one->next_scrape = one->ready_at + options_.scrape * std::fmod(0.618 * created_++, 1);
    next_scrape_ = std::min(next_scrape_, one->next_scrape);
    replicas_.push_back(std::move(one));
  }

  // The youngest goes; if it has something to do, when that is done.
  void Remove() {
    const auto youngest = std::find_if(replicas_.rbegin(), replicas_.rend(),
                                       [](const auto& one) { return !one->draining; });
    (*youngest)->draining = true;
    if (!(*youngest)->Computes()) End(**youngest);
  }

  void End(Replica& replica) {
    CountCost(replica);
    ended_.push_back(std::move(replica.scraped));
    std::erase_if(replicas_, [&](const auto& one) { return one.get() == &replica; });
  }

  void CountCost(const Replica& replica) {
    const double end = std::min(now_, pattern_.seconds);
    result_.replica_seconds +=
        std::max(0.0, end - std::max(replica.created, pattern_.counted_from));
    for (Interval& one : result_.intervals) {
      const double shared = std::min(end, one.at + kInterval) - std::max(replica.created, one.at);
      one.replicas += std::max(0.0, shared) / kInterval;
    }
  }

  void CountReplicas() {
    now_ = std::max(now_, pattern_.seconds);
    for (const auto& one : replicas_) CountCost(*one);
    result_.mean_replicas = result_.replica_seconds / (pattern_.seconds - pattern_.counted_from);
    Tally& all = result_.all;
    all.dropped = all.offered - all.in_time - all.late - all.refused;
  }

  const FleetOptions& options_;
  const Pattern& pattern_;
  const Model& model_;
  const Stream& stream_;
  Autoscaler autoscaler_;
  std::mt19937_64 arrivals_;
  std::mt19937_64 times_;
  std::normal_distribution<double> normal_;
  std::vector<std::unique_ptr<Replica>> replicas_;  // oldest first
  std::vector<Scraped> ended_;
  FleetResult result_;
  double now_ = 0;
  double drawn_ = 0;
  double arrival_ = 0;
  double next_scrape_ = kNever;
  size_t turn_ = 0;
  int64_t jobs_ = 0;
  int created_ = 0;
};

}  // namespace

double FleetResult::Recovery(double at, double end) const {
  constexpr double kMinute = 60;
  for (double from = at; from + kMinute <= end; from += kInterval) {
    int64_t offered = 0;
    int64_t in_time = 0;
    for (const Interval& one : intervals) {
      if (one.at < from || one.at >= from + kMinute) continue;
      offered += one.offered;
      in_time += one.in_time;
    }
    if (static_cast<double>(in_time) >= 0.99 * static_cast<double>(offered)) return from - at;
  }
  return -1;
}

FleetResult RunFleet(const FleetOptions& options, const Pattern& pattern) {
  return Fleet(options, pattern).Run();
}

}  // namespace spatialmamba::simulation
