#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "batching/clock.h"

namespace spatialmamba::simulation {

// Batching policies in virtual time: a discrete-event simulation of arrivals, one queue policy and
// one device. The server's own policy is run by its real classes (batching/device_scheduler.h);
// the others are what users run instead.

// A model on the device: a batch takes fixed + per_image * sum of sizes, times a random factor.
struct Model {
  std::string name;
  double fixed = 0;      // seconds
  double per_image = 0;  // seconds, of an image of size 1
  double noise = 0;      // standard deviation of the factor's logarithm
  int64_t max_batch = 64;
};

// A kind of requests.
struct Stream {
  int model = 0;
  double size = 1;      // cost of its images, relative to the model's image of size 1
  double deadline = 1;  // seconds after arrival
  double weight = 1;    // share of the arrivals
  uint64_t caller = 0;
  double cancelled = 0;     // share of the requests whose caller goes away
  double cancel_after = 0;  // seconds after arrival
};

struct Job {
  int64_t id = 0;
  double arrival = 0;  // seconds
  int stream = 0;
  double cancel_at = 1e300;
};

// Schedules of arrivals, in seconds.
std::vector<double> PoissonArrivals(double rate, int64_t count, uint64_t seed);
// On for `on` seconds at the rate that makes `rate` the mean, then off for `off` seconds.
std::vector<double> BurstArrivals(double rate, double on, double off, int64_t count, uint64_t seed);
// Gives each arrival a stream by weight, and a cancellation.
std::vector<Job> MakeJobs(const std::vector<double>& arrivals, const std::vector<Stream>& streams,
                          uint64_t seed);

struct Scenario {
  std::vector<Model> models;
  std::vector<Stream> streams;
};

// What decides. Time is in seconds from the start.
class Policy {
 public:
  virtual ~Policy() = default;
  // False: refused at once.
  virtual bool Arrive(const Job& job, double now) = 0;
  // Device time, in seconds, that it predicts a request to add to the load; 0: it predicts none.
  virtual double Predicted(const Job&) const { return 0; }
  // Requests admitted, and neither begun nor given up, if it counts them.
  virtual int64_t Waiting() const { return 0; }
  // The batch for the free device; empty: none now.
  virtual std::vector<Job> NextBatch(double now) = 0;
  virtual void Finished(double taken, double now) = 0;
  // When a free device should ask again though nothing arrives; infinity: never.
  virtual double NextWakeup() const = 0;
};

// The server's policy, with its cost model profiled to the models' true curves.
std::unique_ptr<Policy> Server(const Scenario& scenario);
// Whatever waits, in order of arrival, up to the largest batch, as soon as the device is free.
std::unique_ptr<Policy> Greedy(const Scenario& scenario);
// As greedy, but a batch that is not full waits until its oldest image has waited that long.
std::unique_ptr<Policy> FixedWait(const Scenario& scenario, double wait);
// As greedy, but a batch ends where the next image has another size: the rule of servers whose
// batches are one tensor.
std::unique_ptr<Policy> OneShape(const Scenario& scenario);
// As greedy, with a bound on the batch that grows by one while deadlines are met and shrinks by a
// tenth when one is missed (D. Crankshaw et al., Clipper, NSDI 2017).
std::unique_ptr<Policy> Aimd(const Scenario& scenario);

using PolicyMaker = std::function<std::unique_ptr<Policy>(const Scenario&)>;

struct Tally {
  int64_t offered = 0;
  int64_t in_time = 0;
  int64_t late = 0;              // executed, and done after the deadline
  int64_t refused = 0;           // at arrival
  int64_t dropped = 0;           // admitted, never executed, and the caller still there
  int64_t cancelled = 0;         // the caller went away before an answer
  int64_t executed_in_vain = 0;  // begun though the caller was gone or the deadline had passed
};

struct Result {
  Tally all;
  std::vector<Tally> streams;
  double seconds = 0;  // from the first arrival to the last
  double until = 0;    // the end of the last event
  double busy = 0;     // of the device
  int64_t batches = 0;
  int64_t images = 0;  // executed

  double goodput() const { return static_cast<double>(all.in_time) / seconds; }
  double in_time_share() const {
    return static_cast<double>(all.in_time) / static_cast<double>(all.offered);
  }
};

Result Run(const Scenario& scenario, const std::vector<Job>& jobs, Policy& policy, uint64_t seed);

// Images per second of full batches, one after the other, without deadlines: the offline rate.
double OfflineRate(const Scenario& scenario);
// The same of batches that a deadline of `deadline` allows to run at all.
double OfflineRate(const Scenario& scenario, double deadline);
// The highest Poisson rate at which `share` of all requests are answered in time.
double HighestRate(const Scenario& scenario, const PolicyMaker& make, double share, int64_t count,
                   uint64_t seed);

}  // namespace spatialmamba::simulation
