#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <utility>

#include "batching/device_scheduler.h"
#include "tests/bench/simulation.h"

namespace spatialmamba::simulation {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kPixels = 1000;  // of an image of size 1
constexpr TimePoint kStart{std::chrono::hours(1)};

TimePoint At(double seconds) {
  return kStart + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

class SimulatedTask final : public Task {
 public:
  SimulatedTask(const TaskInfo& task, const Job& of, const double* time)
      : Task(task), job(of), now(time) {}
  bool Cancelled() const override { return *now >= job.cancel_at; }
  void Drop(DropReason) override {}

  const Job job;
  const double* const now;
};

class ServerPolicy final : public Policy {
 public:
  explicit ServerPolicy(const Scenario& scenario)
      : scenario_(scenario), scheduler_(Options(scenario)) {
    for (size_t i = 0; i < scenario.models.size(); ++i) {
      const Model& model = scenario.models[i];
      scheduler_.SetProfile(
          static_cast<int>(i),
          std::chrono::duration_cast<Duration>(std::chrono::duration<double>(model.fixed)),
          model.per_image / kPixels);
    }
  }

  bool Arrive(const Job& job, double now) override {
    now_ = now;
    const Stream& stream = scenario_.streams[static_cast<size_t>(job.stream)];
    const TaskInfo info{.model = stream.model,
                        .caller = stream.caller,
                        .pixels = std::llround(kPixels * stream.size),
                        .arrival = At(now),
                        .deadline = At(job.arrival + stream.deadline)};
    std::vector<std::unique_ptr<Task>> tasks;
    tasks.push_back(std::make_unique<SimulatedTask>(info, job, &now_));
    if (scheduler_.Admit(tasks, At(now))) return false;
    Prepare();
    return true;
  }

  // As the server counts what is offered (batching/batcher.cc).
  double Predicted(const Job& job) const override {
    const Stream& stream = scenario_.streams[static_cast<size_t>(job.stream)];
    const Duration predicted =
        scheduler_.PredictLoad(stream.model, 1, std::llround(kPixels * stream.size));
    return std::chrono::duration<double>(predicted).count();
  }

  int64_t Waiting() const override {
    int64_t waiting = 0;
    for (size_t i = 0; i < scenario_.models.size(); ++i) {
      waiting += scheduler_.State(static_cast<int>(i), At(now_)).depth;
    }
    return waiting;
  }

  std::vector<Job> NextBatch(double now) override {
    now_ = now;
    std::vector<Dropped> dropped = scheduler_.PopExpired(At(now));
    scheduler_.PopCancelled();
    Prepare();
    std::vector<Job> jobs;
    const std::optional<Batch> batch = scheduler_.NextBatch(0, At(now), dropped);
    if (!batch) return jobs;
    for (const auto& task : batch->tasks) {
      jobs.push_back(static_cast<const SimulatedTask&>(*task).job);
    }
    Prepare();
    return jobs;
  }

  void Finished(double taken, double now) override {
    now_ = now;
    scheduler_.Finished(0, At(taken) - kStart, true);
  }
  double NextWakeup() const override { return kNever; }

 private:
  static SchedulerOptions Options(const Scenario& scenario) {
    SchedulerOptions options;
    for (const Model& model : scenario.models) {
      options.models.push_back({.max_batch_size = model.max_batch, .max_queue = 100000});
    }
    return options;
  }

  // Decoding takes no time here.
  void Prepare() {
    while (std::unique_ptr<Task> task = scheduler_.NextToPrepare()) {
      scheduler_.Prepared(std::move(task));
    }
  }

  const Scenario scenario_;
  DeviceScheduler scheduler_;
  double now_ = 0;
};

// What the peers have in common: one queue a model in order of arrival, nothing refused, nothing
// dropped; the model whose oldest image has waited longest goes first.
class Fifo : public Policy {
 public:
  explicit Fifo(const Scenario& scenario) : scenario_(scenario) {
    queues_.resize(scenario.models.size());
  }

  bool Arrive(const Job& job, double) override {
    queues_[static_cast<size_t>(stream(job).model)].push_back(job);
    return true;
  }

  std::vector<Job> NextBatch(double now) override {
    std::deque<Job>* oldest = nullptr;
    for (std::deque<Job>& queue : queues_) {
      if (queue.empty() || !MayStart(queue, now)) continue;
      if (oldest == nullptr || queue.front().arrival < oldest->front().arrival) oldest = &queue;
    }
    std::vector<Job> batch;
    if (oldest == nullptr) return batch;
    const int64_t most = Most(*oldest);
    while (!oldest->empty() && static_cast<int64_t>(batch.size()) < most) {
      if (!batch.empty() && !Fits(batch.front(), oldest->front())) break;
      batch.push_back(oldest->front());
      oldest->pop_front();
    }
    begun_ = now;
    batch_ = batch;
    return batch;
  }

  void Finished(double, double) override {}
  double NextWakeup() const override { return kNever; }

 protected:
  const Stream& stream(const Job& job) const {
    return scenario_.streams[static_cast<size_t>(job.stream)];
  }
  const Model& model(const std::deque<Job>& queue) const {
    return scenario_.models[static_cast<size_t>(stream(queue.front()).model)];
  }
  virtual bool MayStart(const std::deque<Job>&, double) const { return true; }
  virtual int64_t Most(const std::deque<Job>& queue) const { return model(queue).max_batch; }
  virtual bool Fits(const Job&, const Job&) const { return true; }

  const Scenario scenario_;
  std::vector<std::deque<Job>> queues_;
  std::vector<Job> batch_;
  double begun_ = 0;
};

class FixedWaitPolicy final : public Fifo {
 public:
  FixedWaitPolicy(const Scenario& scenario, double wait) : Fifo(scenario), wait_(wait) {}

  double NextWakeup() const override {
    double wakeup = kNever;
    for (const auto& queue : queues_) {
      if (!queue.empty()) wakeup = std::min(wakeup, queue.front().arrival + wait_);
    }
    return wakeup;
  }

 private:
  bool MayStart(const std::deque<Job>& queue, double now) const override {
    return static_cast<int64_t>(queue.size()) >= model(queue).max_batch ||
           now >= queue.front().arrival + wait_;
  }
  const double wait_;
};

class OneShapePolicy final : public Fifo {
 public:
  using Fifo::Fifo;

 private:
  bool Fits(const Job& first, const Job& next) const override {
    return stream(first).size == stream(next).size;
  }
};

class AimdPolicy final : public Fifo {
 public:
  using Fifo::Fifo;

  void Finished(double, double now) override {
    const bool late = std::any_of(batch_.begin(), batch_.end(), [&](const Job& job) {
      return now > job.arrival + stream(job).deadline;
    });
    bound_ = late ? std::max(1.0, bound_ * 0.9) : bound_ + 1;
  }

 private:
  int64_t Most(const std::deque<Job>& queue) const override {
    return std::min(model(queue).max_batch, static_cast<int64_t>(bound_));
  }
  double bound_ = 64;
};

}  // namespace

std::unique_ptr<Policy> Server(const Scenario& scenario) {
  return std::make_unique<ServerPolicy>(scenario);
}
std::unique_ptr<Policy> Greedy(const Scenario& scenario) {
  return std::make_unique<Fifo>(scenario);
}
std::unique_ptr<Policy> FixedWait(const Scenario& scenario, double wait) {
  return std::make_unique<FixedWaitPolicy>(scenario, wait);
}
std::unique_ptr<Policy> OneShape(const Scenario& scenario) {
  return std::make_unique<OneShapePolicy>(scenario);
}
std::unique_ptr<Policy> Aimd(const Scenario& scenario) {
  return std::make_unique<AimdPolicy>(scenario);
}

}  // namespace spatialmamba::simulation
