#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "batching/batch_queue.h"
#include "batching/clock.h"
#include "batching/cost_model.h"
#include "batching/fair_share.h"
#include "batching/forecast.h"
#include "batching/observer.h"
#include "batching/running_quantile.h"
#include "batching/task.h"

namespace spatialmamba {

// Bounds of one model's queue and batches.
struct QueueOptions {
  int64_t max_batch_size = 32;  // images
  int64_t max_batch_pixels =
      0;                     // of network input; 0: no bound. One larger image still runs, alone
  int64_t max_queue = 1024;  // images admitted and not yet dispatched
};

struct SchedulerOptions {
  std::vector<QueueOptions> models;       // by model index
  int64_t queue_bytes = 512LL << 20;      // of pictures that wait as they came, of all models
  int64_t prepared_bytes = 1024LL << 20;  // of pictures in preparation and prepared, of all models
  int devices = 1;                        // each serves every model, one batch at a time
};

// Why a request was not admitted. `retry_after` is the predicted time until there is room; zero:
// retrying is pointless.
struct Refusal {
  RefusalReason reason = RefusalReason::kQueueFull;
  Duration retry_after = Duration::zero();
  std::string message;  // for the caller: what was wrong and what to do
};

struct QueueState {
  int64_t depth = 0;  // images admitted and not yet dispatched
  int64_t capacity = 0;
  Duration oldest_age = Duration::zero();
  Duration predicted_drain = Duration::zero();  // device time of what waits
};

// The whole policy: what is admitted, what is prepared next, what a free device runs, what is given
// up. Pure: not thread-safe, reads no clock (callers pass `now`, which never goes back), starts
// nothing. The batcher puts threads around it, the simulator an event queue.
//
// - Admission: a request is refused at once if it is predicted to miss its deadline or to make
//   others miss theirs, if there is no room for it, or if the room is kept for other callers or
//   models (fair_share.h).
// - Preparation: earliest deadline first, just in time: no more than the next batches need, within
//   a window of bytes.
// - Dispatch: whenever a device is free and anything is ready; never later. Among models the one
//   with the least slack; how much of it, see batch_plan.h.
class DeviceScheduler {
 public:
  explicit DeviceScheduler(const SchedulerOptions& options);

  // What is known of a forward before serving.
  void SetProfile(int model, Duration fixed, double seconds_per_pixel);
  const CostModel& cost(int model) const { return at(model).cost; }

  // The images of one request: same model, caller, arrival and deadline. Takes all of them, or
  // none and says why. Needs at least one.
  std::optional<Refusal> Admit(std::vector<std::unique_ptr<Task>>& tasks, TimePoint now);
  // From now on everything is refused.
  void BeginDrain() { draining_ = true; }

  // The next task to be prepared now, if any; to be called again until there is none. It comes back
  // by Prepared, or by Forget if it was given up.
  std::unique_ptr<Task> NextToPrepare();
  void Prepared(std::unique_ptr<Task> task);
  void Forget(const Task& task);

  // Takes out what can no longer be done in time, or is not wanted any more.
  std::vector<Dropped> PopExpired(TimePoint now);
  std::vector<Dropped> PopCancelled();
  std::vector<Dropped> PopAll(DropReason reason);
  // When PopExpired has something to do.
  TimePoint NextWakeup() const;

  // The batch for a device that is free, if anything is ready; what had to be given up for it is
  // added to `dropped`. The device is busy until Finished.
  std::optional<Batch> NextBatch(int device, TimePoint now, std::vector<Dropped>& dropped);
  // The batch that NextBatch gave has run. `whole`: all of it, so that its time tells something.
  void Finished(int device, Duration taken, bool whole);

  bool HasReady() const;
  bool empty() const;  // of tasks; batches may run
  QueueState State(int model, TimePoint now) const;
  // An image was answered so long after the predicted end of its batch.
  void Answered(int model, Duration after);

  // What these images add to the load: the device time that is theirs in full batches. A request
  // that runs alone takes longer, but only as long as the device has time to spare.
  Duration PredictLoad(int model, int64_t images, int64_t pixels) const;

 private:
  // Of the answers, how many the margin before the deadline is to be enough for.
  static constexpr double kMarginShare = 0.98;

  struct Model {
    QueueOptions options;
    BatchQueue queue;
    CostModel cost;
    // Seconds from the predicted end of a batch to the answers of its images.
    RunningQuantile answer_delay{kMarginShare};
  };
  struct Running {
    int model = 0;
    int64_t pixels = 0;
    TimePoint until;                                  // predicted
    std::vector<std::pair<uint64_t, Duration>> held;  // by caller, a part for each image
  };
  struct Request;

  // Most images of this queue that a batch can hold.
  static int64_t BatchImages(const Model& model);
  const Model& at(int model) const { return models_[static_cast<size_t>(model)]; }
  Model& at(int model) { return models_[static_cast<size_t>(model)]; }
  static BatchLimits Limits(const Model& model);
  static Duration Margin(const Model& model);
  Duration Drain(const Model& model, BatchQueue::Work work) const;
  int64_t Bytes() const;
  int64_t PreparedBytes() const;
  bool IdleAndEmpty() const;

  // What is predicted of a request.
  struct Outlook {
    TimePoint finish;                  // of its last image; max(): it would be given up
    Duration harm = Duration::zero();  // by how much it would make accepted work late
  };
  enum class BatchesAre { kFull, kSingle };

  // Why not, or nothing and the predicted finish.
  std::optional<Refusal> Refuse(const Request& request, TimePoint now, TimePoint& finish) const;
  std::optional<Refusal> RefuseForRoom(const Request& request, TimePoint now) const;
  std::optional<Refusal> RefuseForTime(const Request& request, TimePoint now,
                                       TimePoint& finish) const;
  std::vector<ForecastQueue> Queues() const;
  std::vector<TimePoint> Free(TimePoint now) const;
  TimePoint FirstFree(TimePoint now) const;
  TimePoint EarliestFinish(const Request& request, TimePoint now) const;
  Duration WorkAhead(const Request& request, BatchesAre batches) const;
  Outlook Look(const Request& request, TimePoint now) const;
  Duration Harm(const std::vector<ForecastQueue>& queues,
                const std::vector<std::vector<TimePoint>>& finish, const Request& request,
                const std::vector<TimePoint>& free) const;
  Duration LateHead(const Request& request, TimePoint now) const;
  Duration ReservedForOthers(const Request& request, Duration window, TimePoint now) const;
  void Release(const Task& task);
  void Release(const std::vector<Dropped>& dropped);

  const SchedulerOptions options_;
  std::vector<Model> models_;
  std::vector<std::optional<Running>> running_;  // by device; empty: free
  FairShare callers_;
  FairShare models_share_;
  uint64_t admitted_ = 0;  // tasks
  uint64_t batches_ = 0;   // started
  bool draining_ = false;
};

}  // namespace spatialmamba
