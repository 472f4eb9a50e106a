#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "batching/batcher.h"
#include "batching/clock.h"
#include "batching/observer.h"
#include "model/runtime/prediction.h"
#include "model/tasks/detect.h"
#include "server/config.h"
#include "server/metrics.h"
#include "server/model_table.h"
#include "server/request.h"
#include "server/work_pool.h"

namespace spatialmamba {

// One request, stage by stage, in the order of pipeline.cc:
//
//   caller's thread   select the model, validate, plan by the headers, queue if there is time
//   CPU pool          decode, preprocess    (each image by itself, just in time for its batch)
//   device's worker   run a batch of images of any requests
//   CPU pool          postprocess; the last image answers
//
// The parts of a request are what is scheduled: its images, or the tiles of images that are cut.
// Every request is answered exactly once, whatever happens: by its last image, its first failure,
// its cancellation, or the end of the drain. From then on its other images are skipped wherever
// they are. Thread-safe; no method blocks but Drain and the destructor.
class Pipeline {
 public:
  // Called once, on any thread, without a lock. `model`: what was asked for, or Metrics::kNoModel.
  using Done = std::function<void(int model, Outcome outcome)>;
  class Request;
  // Of a request in flight; expires when it is over.
  using Ticket = std::weak_ptr<Request>;

  struct Options {
    LimitsConfig limits;
    int decode_threads = 1;
    int devices = 1;
  };
  // What it works with; all outlive it.
  struct Parts {
    const ModelTable& models;
    Metrics& metrics;
    BatchObserver& observer;
    Clock& clock;
    // A device has failed: nothing that is given to it succeeds any more. Called on its worker for
    // every batch that finds it so, before its callers are told.
    std::function<void(int device, const std::string& why)> on_device_failure = {};
  };

  Pipeline(const Options& options, const Parts& parts);
  // Fails what is in flight (DRAINING) and waits for the batch that runs.
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  Ticket Start(VisionRequest input, Done done);
  // Nobody waits for the answer any more: the caller went away, or its deadline has come.
  void Cancel(const Ticket& ticket);

  // From now on new requests are refused (DRAINING).
  void BeginDrain() { batcher_.BeginDrain(); }
  // The same, and what has not begun to run fails at once (DRAINING).
  void Abandon();
  // Waits until all requests are answered; fails those that are not by `deadline` (DRAINING).
  // Returns how many those were.
  int64_t Drain(TimePoint deadline);

  // How long a model's forward takes, measured before serving.
  void SetProfile(int model, Duration fixed, double seconds_per_pixel) {
    batcher_.SetProfile(model, fixed, seconds_per_pixel);
  }
  QueueState Queue(int model) const { return batcher_.State(model); }

 private:
  class ImageTask;
  using Error = std::optional<ServiceError>;

  // The stages.
  Error SelectModel(Request& request) const;
  Error Validate(const Request& request) const;
  Error PlanImages(Request& request) const;
  Error Admit(const std::shared_ptr<Request>& request);
  void Prepare(Batcher::Preparation preparation);
  void PrepareNow(const std::shared_ptr<Batcher::Preparation>& preparation);
  Image PartPixels(ImageTask& task);
  void ReadInput(ImageTask& task, const Image& pixels);
  int64_t RunBatch(int device, const Batch& batch);
  int64_t Infer(int device, std::span<ImageTask* const> tasks);
  void FailOnDevice(int device, std::span<ImageTask* const> tasks, const std::string& why);
  void Postprocess(Request& request, size_t part, Prediction prediction, const PictureSizes& sizes);
  void FinishImage(Request& request, size_t image);

  bool Unwanted(const Request& request) const;
  void Skip(Request& request, size_t part);
  void Fail(Request& request, ServiceError error);
  void Finish(Request& request, Outcome outcome);
  WorkPool::Job MakeJob(const std::shared_ptr<Request>& request, size_t part,
                        std::function<void()> run);

  const LimitsConfig limits_;
  const ModelTable& models_;
  Metrics& metrics_;
  Clock& clock_;
  const std::function<void(int device, const std::string& why)> on_device_failure_;

  std::mutex mutex_;  // guards in_flight_
  std::condition_variable answered_;
  std::unordered_map<const Request*, Ticket> in_flight_;

  Batcher batcher_;
  WorkPool pool_;  // last: its jobs use everything above
};

}  // namespace spatialmamba
