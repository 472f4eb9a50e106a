#include "server/pipeline.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>
#include <utility>

#include "model/tasks/preprocess.h"
#include "server/picture.h"

namespace spatialmamba {
namespace {

BatcherOptions ToBatcherOptions(const Pipeline::Options& options, const ModelTable& models) {
  BatcherOptions batcher{.queue_bytes = options.limits.queue_bytes, .devices = options.devices};
  for (const ServedModel& model : models.models()) {
    batcher.models.push_back({.max_batch_size = model.batching.max_batch_size,
                              .max_batch_pixels = model.max_input_pixels,
                              .max_queue = model.batching.max_queue});
  }
  return batcher;
}

TimePoint Later(TimePoint time, Duration by) {
  return time > TimePoint::max() - by ? TimePoint::max() : time + by;
}

}  // namespace

// A request from Start until its last image is gone. Owned by the jobs and tasks of its images.
class Pipeline::Request {
 public:
  Request(Pipeline& owner, VisionRequest request, Done on_done)
      : input(std::move(request)), pipeline(owner), done(std::move(on_done)) {}
  ~Request() {
    // Its images were lost on the way, which must not leave a caller without an answer.
    if (!answered) pipeline.Finish(*this, InternalError("a request was lost on its way"));
  }

  VisionRequest input;
  Pipeline& pipeline;
  const Done done;
  int model = Metrics::kNoModel;
  TimePoint deadline = TimePoint::max();
  std::vector<PicturePlan> plans;
  bool admitted = false;

  std::vector<Batcher::Admission> places;  // by image
  std::vector<ImageAnswer> answers;  // each written by the jobs of its image, one after the other
  std::atomic<size_t> missing = 0;   // answers
  std::atomic<bool> answered = false;
  std::atomic<DropLabel> skipped_as = DropLabel::kCancelled;  // why its other images are not run
};

// An image that waits for a device.
class Pipeline::ImageTask final : public Task {
 public:
  ImageTask(const TaskInfo& task, std::shared_ptr<Request> of, size_t at, NetworkInput pixels,
            TimePoint now)
      : Task(task), request(std::move(of)), image(at), input(std::move(pixels)), queued(now) {}

  bool Cancelled() const override { return request->answered; }
  void Drop(DropReason reason) override { request->pipeline.Fail(*request, FromDrop(reason)); }

  const std::shared_ptr<Request> request;
  const size_t image;
  const NetworkInput input;
  const TimePoint queued;
};

Pipeline::Pipeline(const Options& options, const Parts& parts)
    : limits_(options.limits),
      models_(parts.models),
      metrics_(parts.metrics),
      clock_(parts.clock),
      batcher_(ToBatcherOptions(options, parts.models), parts.clock, parts.observer,
               [this](int device, const Batch& batch) { RunBatch(device, batch); }),
      pool_(options.decode_threads, options.limits.decode_bytes) {}

Pipeline::~Pipeline() {
  Drain(clock_.Now());
  // Returns when no image is left that could come to the batcher.
  batcher_.Drain(TimePoint::max());
}

// ---- On the caller's thread: everything that can be refused is refused before it costs anything.

Pipeline::Ticket Pipeline::Start(VisionRequest input, Done done) {
  const auto request = std::make_shared<Request>(*this, std::move(input), std::move(done));
  {
    const std::lock_guard lock(mutex_);
    in_flight_.emplace(request.get(), request);
  }
  Error error;
  try {
    error = SelectModel(*request);
    if (!error) error = Validate(*request);
    if (!error) error = PlanImages(*request);
    if (!error) error = Admit(*request);
  } catch (...) {
    error = FromException(std::current_exception());
  }
  if (error) {
    Fail(*request, *std::move(error));
    return {};
  }
  for (size_t i = 0; i < request->input.images.size(); ++i) {
    WorkPool::Job job = MakeJob(request, i, [this, request, i] { Decode(request, i); });
    job.bytes = request->plans[i].decode_bytes;
    pool_.Add(std::move(job));
  }
  return request;
}

Pipeline::Error Pipeline::SelectModel(Request& request) const {
  const VisionRequest& input = request.input;
  std::variant<int, ServiceError> model =
      models_.Select(input.task, input.model_name, input.model_version);
  if (auto* error = std::get_if<ServiceError>(&model)) return std::move(*error);
  request.model = std::get<int>(model);
  request.deadline = input.deadline;
  if (input.deadline == TimePoint::max()) {
    request.deadline = Later(input.arrival, models_.at(request.model).batching.default_deadline);
  }
  return std::nullopt;
}

Pipeline::Error Pipeline::Validate(const Request& request) const {
  const int64_t places = models_.at(request.model).batching.max_queue;
  return CheckRequest(request.input, std::min(limits_.images_per_request, places));
}

Pipeline::Error Pipeline::PlanImages(Request& request) const {
  auto plans = PlanPictures(request.input.images, models_.at(request.model), limits_);
  if (auto* error = std::get_if<ServiceError>(&plans)) return std::move(*error);
  request.plans = std::get<std::vector<PicturePlan>>(std::move(plans));
  return std::nullopt;
}

Pipeline::Error Pipeline::Admit(Request& request) {
  AdmissionRequest wanted{.model = request.model,
                          .images = static_cast<int64_t>(request.plans.size()),
                          .deadline = request.deadline};
  for (const PicturePlan& plan : request.plans) {
    wanted.pixels += plan.input_pixels;
    wanted.bytes += plan.queue_bytes;
    request.answers.push_back({.height = plan.height, .width = plan.width});
  }
  auto admission = batcher_.Admit(wanted);
  if (const auto* refusal = std::get_if<Refusal>(&admission)) return FromRefusal(*refusal);
  for (const PicturePlan& plan : request.plans) {
    request.places.push_back(
        std::get<Batcher::Admission>(admission).TakeOne(plan.input_pixels, plan.queue_bytes));
  }
  request.missing = request.plans.size();
  request.admitted = true;
  const Metrics::MethodMetrics& metrics = metrics_.method(request.input.method);
  metrics.requests_in_flight.Increment();
  metrics.images_in_flight.Increment(static_cast<double>(wanted.images));
  return std::nullopt;
}

// ---- On the CPU pool.

void Pipeline::Decode(const std::shared_ptr<Request>& request, size_t image) {
  if (Skip(*request, image)) return;
  const ServedModel& model = models_.at(request->model);
  const Metrics::ModelMetrics& metrics = metrics_.model(request->model);
  Timing& timing = request->answers[image].timing;
  PictureSource& source = request->input.images[image];
  const TimePoint begun = clock_.Now();
  const Image pixels = DecodePicture(source, request->plans[image], model);
  source = PictureSource();  // its bytes are not needed any more
  const TimePoint decoded = clock_.Now();
  NetworkInput input = Preprocess(pixels, model.preprocess);
  timing.decode = decoded - begun;
  timing.preprocess = clock_.Now() - decoded;
  metrics.stage(Stage::kDecode).Observe(std::chrono::duration<double>(timing.decode).count());
  metrics.stage(Stage::kPreprocess)
      .Observe(std::chrono::duration<double>(timing.preprocess).count());
  Queue(request, image, std::move(input));
}

void Pipeline::Queue(const std::shared_ptr<Request>& request, size_t image, NetworkInput input) {
  const PicturePlan& plan = request->plans[image];
  const TaskInfo info{.model = request->model,
                      .pixels = plan.input_pixels,
                      .bytes = plan.queue_bytes,
                      .arrival = request->input.arrival,
                      .deadline = request->deadline};
  auto task = std::make_unique<ImageTask>(info, request, image, std::move(input), clock_.Now());
  batcher_.Submit(request->places[image], std::move(task));
}

// ---- On a device's worker.

void Pipeline::RunBatch(int device, const Batch& batch) {
  std::vector<ImageTask*> tasks;
  for (const std::unique_ptr<Task>& task : batch.tasks) {
    auto* image = static_cast<ImageTask*>(task.get());
    Timing& timing = image->request->answers[image->image].timing;
    timing.queue = batch.formed - image->queued;
    timing.batch_size = static_cast<int64_t>(batch.tasks.size());
    timing.closed_by = batch.cause;
    timing.device = device;
    tasks.push_back(image);
  }
  Infer(device, tasks);
}

// A batch that fails is run again in halves, so that an image fails only by itself.
void Pipeline::Infer(int device, std::span<ImageTask* const> tasks) {
  const int model = tasks[0]->info().model;
  Replica& replica = *models_.at(model).replicas[static_cast<size_t>(device)];
  std::vector<ImageView> views;
  for (const ImageTask* task : tasks) {
    views.push_back({task->input.pixels.data(), task->input.height, task->input.width});
  }
  const TimePoint begun = clock_.Now();
  std::vector<Prediction> predictions;
  try {
    predictions = replica.Run(views);
  } catch (...) {
    if (tasks.size() == 1) {
      return Fail(*tasks[0]->request,
                  AtImage(tasks[0]->image, FromException(std::current_exception())));
    }
  }
  if (predictions.empty()) {
    Infer(device, tasks.first(tasks.size() / 2));
    Infer(device, tasks.subspan(tasks.size() / 2));
    return;
  }
  const Duration taken = clock_.Now() - begun;
  metrics_.model(model)
      .stage(Stage::kInference)
      .Observe(std::chrono::duration<double>(taken).count());
  for (size_t i = 0; i < tasks.size(); ++i) {
    const std::shared_ptr<Request> request = tasks[i]->request;
    const size_t image = tasks[i]->image;
    request->answers[image].timing.inference = taken;
    WorkPool::Job job =
        MakeJob(request, image, [this, request, image, prediction = std::move(predictions[i])] {
          Postprocess(*request, image, prediction);
        });
    job.deadline = TimePoint::min();  // almost done: before all that still has to be decoded
    pool_.Add(std::move(job));
  }
}

// ---- On the CPU pool again.

void Pipeline::Postprocess(Request& request, size_t image, const Prediction& prediction) {
  if (request.answered) return;
  const TimePoint begun = clock_.Now();
  ImageAnswer& answer = request.answers[image];
  answer.classes = TopClasses(prediction.logits, request.input.top_k);
  answer.timing.postprocess = clock_.Now() - begun;
  metrics_.model(request.model)
      .stage(Stage::kPostprocess)
      .Observe(std::chrono::duration<double>(answer.timing.postprocess).count());
  if (--request.missing > 0) return;
  Finish(request,
         Answer{.model = &models_.at(request.model), .images = std::move(request.answers)});
}

// ---- The end of a request.

void Pipeline::Cancel(const Ticket& ticket) {
  const std::shared_ptr<Request> request = ticket.lock();
  if (!request) return;
  // A caller ends its call itself when its deadline comes, and that may overtake the deadline here:
  // timeouts travel rounded up by as much as a hundredth, and begin anew on arrival.
  DropReason reason = DropReason::kCancelled;
  if (request->input.deadline != TimePoint::max()) {
    const Duration slack =
        std::chrono::milliseconds(10) + (request->input.deadline - request->input.arrival) / 50;
    if (clock_.Now() + slack >= request->input.deadline) reason = DropReason::kDeadline;
  }
  Fail(*request, FromDrop(reason));
}

// Whether an image need not be worked on. Then it is counted as dropped, and its place is free.
bool Pipeline::Skip(Request& request, size_t image) {
  const bool late = request.deadline <= clock_.Now();
  if (!late && !request.answered) return false;
  const Metrics::ModelMetrics& metrics = metrics_.model(request.model);
  metrics.drop(late ? DropLabel::kDeadline : request.skipped_as.load()).Increment();
  const Duration saved = batcher_.PredictShare(request.model, request.plans[image].input_pixels);
  metrics.saved_device_seconds.Increment(std::chrono::duration<double>(saved).count());
  request.places[image] = {};
  if (late) Fail(request, FromDrop(DropReason::kDeadline));
  return true;
}

void Pipeline::Fail(Request& request, ServiceError error) {
  if (error.reason == ErrorReason::kDeadlineExceeded) request.skipped_as = DropLabel::kDeadline;
  if (error.reason == ErrorReason::kDraining) request.skipped_as = DropLabel::kDraining;
  Finish(request, std::move(error));
  if (request.admitted) batcher_.Wake();  // its other images need not wait
}

void Pipeline::Finish(Request& request, Outcome outcome) {
  if (request.answered.exchange(true)) return;
  if (request.admitted) {
    const Metrics::MethodMetrics& metrics = metrics_.method(request.input.method);
    metrics.requests_in_flight.Decrement();
    metrics.images_in_flight.Decrement(static_cast<double>(request.plans.size()));
  }
  request.done(request.model, std::move(outcome));
  {
    const std::lock_guard lock(mutex_);
    in_flight_.erase(&request);
  }
  answered_.notify_all();
}

WorkPool::Job Pipeline::MakeJob(const std::shared_ptr<Request>& request, size_t image,
                                std::function<void()> run) {
  return {.deadline = request->deadline,
          .run = std::move(run),
          .fail = [this, request, image](const std::exception_ptr& exception) {
            Fail(*request, AtImage(image, FromException(exception)));
          }};
}

int64_t Pipeline::Drain(TimePoint deadline) {
  BeginDrain();
  std::vector<Ticket> leftovers;
  {
    std::unique_lock lock(mutex_);
    const auto none = [&] { return in_flight_.empty(); };
    if (clock_.WaitUntil(lock, answered_, deadline, none)) return 0;
    for (const auto& [request, ticket] : in_flight_) leftovers.push_back(ticket);
  }
  int64_t failed = 0;
  for (const Ticket& ticket : leftovers) {
    const std::shared_ptr<Request> request = ticket.lock();
    if (!request || request->answered) continue;
    Fail(*request, FromDrop(DropReason::kDraining));
    ++failed;
  }
  return failed;
}

}  // namespace spatialmamba
