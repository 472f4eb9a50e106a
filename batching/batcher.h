#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "batching/clock.h"
#include "batching/observer.h"
#include "batching/task.h"

namespace spatialmamba {

// Bounds of one model's queue and batches.
struct QueueOptions {
  int64_t max_batch_size = 32;  // images
  int64_t max_batch_pixels =
      0;                     // of network input; 0: no bound. One larger image still runs, alone
  int64_t max_queue = 1024;  // images admitted and not yet dispatched
};

struct BatcherOptions {
  std::vector<QueueOptions> models;   // by model index
  int64_t queue_bytes = 512LL << 20;  // of all admitted and undispatched tasks of all models
  int devices = 1;                    // each has a worker thread and serves every model
};

// Why a request was not admitted. `retry_after` is the predicted time until there is room; zero:
// retrying is pointless.
struct Refusal {
  RefusalReason reason = RefusalReason::kQueueFull;
  Duration retry_after = Duration::zero();
  std::string message;  // for the caller: what was wrong and what to do
};

// A request's images, before any of them is decoded.
struct AdmissionRequest {
  int model = 0;
  int64_t images = 0;
  int64_t pixels = 0;  // of network input, all images together
  int64_t bytes = 0;   // of host memory while they wait, all images together
  TimePoint deadline = TimePoint::max();
};

struct QueueState {
  int64_t depth = 0;  // images admitted and not yet dispatched
  int64_t capacity = 0;
  Duration oldest_age = Duration::zero();
  Duration predicted_drain = Duration::zero();  // device time of what waits
};

// The only thread-safe part of batching: a monitor around the pure policy (BatchQueue,
// DeviceScheduler) and one worker thread a device. No method blocks but Drain and the destructor.
class Batcher {
 public:
  // Runs a batch on a device. Called on that device's worker thread; finishes every task of the
  // batch, does not throw.
  using RunBatch = std::function<void(int device, Batch batch)>;

  // Places for the images of one request, taken whole or not at all. Places that were not used by
  // Submit are given back on destruction. Must not outlive the batcher.
  class Admission {
   public:
    Admission() = default;
    Admission(Admission&& other) noexcept;
    Admission& operator=(Admission&& other) noexcept;
    ~Admission();
    int64_t places() const { return places_; }

    // Parts one place from the others, with its share of pixels and bytes: images of a request go
    // their own ways. Needs places() > 0.
    Admission TakeOne(int64_t pixels, int64_t bytes);

   private:
    friend class Batcher;
    Batcher* batcher_ = nullptr;
    int model_ = 0;
    int64_t places_ = 0;
    int64_t bytes_ = 0;
    int64_t pixels_ = 0;
  };

  // `clock` and `observer` outlive this.
  Batcher(const BatcherOptions& options, Clock& clock, BatchObserver& observer, RunBatch run);
  // Drops what still waits (kDraining) and joins the workers after their current batch.
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Takes places for a whole request or says why not.
  std::variant<Admission, Refusal> Admit(const AdmissionRequest& request);

  // Queues a task on one of the admission's places; it will run or be dropped. Needs
  // admission.places() > 0.
  void Submit(Admission& admission, std::unique_ptr<Task> task);

  // Lets the policy look again now: some task's Cancelled() has become true.
  void Wake();

  // The device time of a forward as measured before serving: replaces what the cost model assumes
  // of that model.
  void SetProfile(int model, Duration fixed, double seconds_per_pixel);

  // Device time that these pixels take in a well-filled batch, as predicted now; zero without a
  // profile.
  Duration PredictShare(int model, int64_t pixels) const;

  // From now on Admit refuses with kDraining. Admitted work goes on.
  void BeginDrain();
  // Waits until every admitted place was used or given back and every task has run or was dropped,
  // or until `deadline`; what still waits then is dropped (kDraining). True if nothing had to be
  // dropped for it.
  bool Drain(TimePoint deadline);

  QueueState State(int model) const;

 private:
  struct Monitor;
  std::unique_ptr<Monitor> monitor_;
};

}  // namespace spatialmamba
