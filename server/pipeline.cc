#include "server/pipeline.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>
#include <utility>

#include "model/tasks/preprocess.h"
#include "server/picture.h"
#include "server/postprocess.h"

namespace spatialmamba {
namespace {

SchedulerOptions ToSchedulerOptions(const Pipeline::Options& options, const ModelTable& models) {
  SchedulerOptions scheduler{.queue_bytes = options.limits.queue_bytes,
                             .prepared_bytes = options.limits.decode_bytes,
                             .devices = options.devices};
  for (const ServedModel& model : models.models()) {
    scheduler.models.push_back({.max_batch_size = model.batching.max_batch_size,
                                .max_batch_pixels = model.max_input_pixels,
                                .max_queue = model.batching.max_queue});
  }
  return scheduler;
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// An answer has to leave before the deadline to be there in time: what gRPC says of the time that
// is left is rounded up by as much as a hundredth, and counts from the arrival here. So a fiftieth
// is kept for the way, and a millisecond of deadlines that are long enough for it.
TimePoint LeaveBy(TimePoint arrival, TimePoint deadline) {
  if (deadline == TimePoint::max()) return deadline;
  const Duration left = std::max(Duration::zero(), deadline - arrival);
  const Duration least = std::min<Duration>(std::chrono::milliseconds(1), left / 10);
  return deadline - std::max(least, left / 50);
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

  std::vector<ImageAnswer> answers;  // each written by the jobs of its image, one after the other
  std::atomic<size_t> missing = 0;   // answers
  std::atomic<bool> answered = false;
  std::atomic<DropLabel> skipped_as = DropLabel::kCancelled;  // why its other images are not run
};

// An image from its admission until it has run.
class Pipeline::ImageTask final : public Task {
 public:
  ImageTask(const TaskInfo& task, std::shared_ptr<Request> of, size_t at)
      : Task(task), request(std::move(of)), image(at) {}

  bool Cancelled() const override { return request->answered; }
  void Drop(DropReason reason) override { request->pipeline.Fail(*request, FromDrop(reason)); }

  // Once it is prepared.
  PictureSizes sizes() const {
    const ImageAnswer& answer = request->answers[image];
    return {{answer.height, answer.width}, {input.valid_height, input.valid_width}};
  }

  const std::shared_ptr<Request> request;
  const size_t image;
  NetworkInput input;  // once it is prepared
  TimePoint prepared;
};

Pipeline::Pipeline(const Options& options, const Parts& parts)
    : limits_(options.limits),
      models_(parts.models),
      metrics_(parts.metrics),
      clock_(parts.clock),
      batcher_(ToSchedulerOptions(options, parts.models), parts.clock, parts.observer,
               {.prepare = [this](Batcher::Preparation one) { Prepare(std::move(one)); },
                .run = [this](int device, const Batch& batch) { return RunBatch(device, batch); }}),
      pool_(options.decode_threads) {}

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
    if (!error) error = Admit(request);
  } catch (...) {
    error = FromException(std::current_exception());
  }
  if (error) {
    Fail(*request, *std::move(error));
    return {};
  }
  return request;
}

Pipeline::Error Pipeline::SelectModel(Request& request) const {
  const VisionRequest& input = request.input;
  std::variant<int, ServiceError> model =
      models_.Select(input.task(), input.model_name, input.model_version);
  if (auto* error = std::get_if<ServiceError>(&model)) return std::move(*error);
  request.model = std::get<int>(model);
  request.deadline = input.deadline;
  if (input.deadline == TimePoint::max()) {
    request.deadline = Later(input.arrival, models_.at(request.model).batching.default_deadline);
  }
  return std::nullopt;
}

Pipeline::Error Pipeline::Validate(const Request& request) const {
  const ServedModel& model = models_.at(request.model);
  return CheckRequest(request.input, model,
                      std::min(limits_.images_per_request, model.batching.max_queue));
}

Pipeline::Error Pipeline::PlanImages(Request& request) const {
  auto plans = PlanPictures(request.input.images, models_.at(request.model), limits_);
  if (auto* error = std::get_if<ServiceError>(&plans)) return std::move(*error);
  request.plans = std::get<std::vector<PicturePlan>>(std::move(plans));
  return std::nullopt;
}

// From here on the batcher has the request: its images are prepared, run, dropped and answered
// without this thread, which may happen before this returns.
Pipeline::Error Pipeline::Admit(const std::shared_ptr<Request>& request) {
  std::vector<std::unique_ptr<Task>> tasks;
  for (const PicturePlan& plan : request->plans) {
    const TaskInfo info{.model = request->model,
                        .caller = request->input.caller,
                        .pixels = plan.input_pixels,
                        .bytes = plan.queue_bytes,
                        .prepare_bytes = plan.decode_bytes,
                        .ready_bytes = plan.input_bytes + plan.output_bytes,
                        .arrival = request->input.arrival,
                        .deadline = LeaveBy(request->input.arrival, request->deadline)};
    tasks.push_back(std::make_unique<ImageTask>(info, request, tasks.size()));
    request->answers.push_back({.height = plan.height, .width = plan.width});
  }
  const auto images = static_cast<double>(tasks.size());
  const Metrics::MethodMetrics& metrics = metrics_.method(request->input.method);
  request->missing = tasks.size();
  request->admitted = true;
  metrics.requests_in_flight.Increment();
  metrics.images_in_flight.Increment(images);
  const std::optional<Refusal> refusal = batcher_.Submit(std::move(tasks));
  if (!refusal) return std::nullopt;
  request->admitted = false;
  metrics.requests_in_flight.Decrement();
  metrics.images_in_flight.Decrement(images);
  return FromRefusal(*refusal);
}

// ---- On the CPU pool, just in time for the device.

void Pipeline::Prepare(Batcher::Preparation preparation) {
  const auto shared = std::make_shared<Batcher::Preparation>(std::move(preparation));
  const auto& task = static_cast<const ImageTask&>(shared->task());
  pool_.Add(MakeJob(task.request, task.image, [this, shared] {
    auto& image = static_cast<ImageTask&>(shared->task());
    if (Unwanted(*image.request)) return Skip(*image.request, image.image);
    Decode(image);
    batcher_.Ready(std::move(*shared));
  }));
}

void Pipeline::Decode(ImageTask& task) {
  Request& request = *task.request;
  const ServedModel& model = models_.at(request.model);
  const Metrics::ModelMetrics& metrics = metrics_.model(request.model);
  Timing& timing = request.answers[task.image].timing;
  PictureSource& source = request.input.images[task.image];
  const TimePoint begun = clock_.Now();
  const Image pixels = DecodePicture(source, request.plans[task.image], model);
  source = PictureSource();  // its bytes are not needed any more
  const TimePoint decoded = clock_.Now();
  task.input = Preprocess(pixels, model.preprocess);
  task.prepared = clock_.Now();
  timing.prepare_wait = begun - request.input.arrival;
  timing.decode = decoded - begun;
  timing.preprocess = task.prepared - decoded;
  metrics.stage(Stage::kPrepareWait).Observe(Seconds(timing.prepare_wait));
  metrics.stage(Stage::kDecode).Observe(Seconds(timing.decode));
  metrics.stage(Stage::kPreprocess).Observe(Seconds(timing.preprocess));
}

// ---- On a device's worker.

int64_t Pipeline::RunBatch(int device, const Batch& batch) {
  std::vector<ImageTask*> tasks;
  for (const std::unique_ptr<Task>& task : batch.tasks) {
    auto* image = static_cast<ImageTask*>(task.get());
    Request& request = *image->request;
    Timing& timing = request.answers[image->image].timing;
    timing.queue = batch.formed - image->prepared;
    timing.predicted = image->predicted_finish() - request.input.arrival;
    timing.batch_due = image->predicted_batch_end();
    timing.batches_ahead = image->batches_ahead();
    timing.batch_size = static_cast<int64_t>(batch.tasks.size());
    timing.closed_by = batch.cause;
    timing.device = device;
    metrics_.model(batch.model).stage(Stage::kQueue).Observe(Seconds(timing.queue));
    tasks.push_back(image);
  }
  return Infer(device, tasks);
}

// A batch that fails is run again in halves, so that an image fails only by itself.
int64_t Pipeline::Infer(int device, std::span<ImageTask* const> tasks) {
  const int model = tasks[0]->info().model;
  const Metrics::ModelMetrics& metrics = metrics_.model(model);
  Replica& replica = *models_.at(model).replicas[static_cast<size_t>(device)];
  std::vector<ImageView> views;
  for (const ImageTask* task : tasks) {
    views.push_back({task->input.pixels.data(), task->input.height, task->input.width,
                     MakeQuery(task->request->input.options, models_.at(model), task->sizes())});
  }
  const TimePoint begun = clock_.Now();
  std::vector<std::optional<Prediction>> predictions;
  try {
    predictions = replica.Run(views, [&](size_t i) { return !Unwanted(*tasks[i]->request); });
  } catch (...) {
    if (tasks.size() == 1) {
      Fail(*tasks[0]->request, AtImage(tasks[0]->image, FromException(std::current_exception())));
      return 1;
    }
  }
  if (predictions.empty()) {
    const size_t half = tasks.size() / 2;
    return Infer(device, tasks.first(half)) + Infer(device, tasks.subspan(half));
  }
  const Duration taken = clock_.Now() - begun;
  metrics.stage(Stage::kInference).Observe(Seconds(taken));
  int64_t executed = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const std::shared_ptr<Request> request = tasks[i]->request;
    const size_t image = tasks[i]->image;
    if (!predictions[i]) {
      Skip(*request, image);
      continue;
    }
    ++executed;
    if (Unwanted(*request)) {
      metrics.wasted_device_seconds.Increment(
          Seconds(batcher_.PredictShare(model, tasks[i]->info().pixels)));
    }
    request->answers[image].timing.inference = taken;
    WorkPool::Job job =
        MakeJob(request, image,
                [this, request, image, sizes = tasks[i]->sizes(),
                 prediction = std::make_shared<Prediction>(*std::move(predictions[i]))] {
                  Postprocess(*request, image, std::move(*prediction), sizes);
                });
    job.deadline = TimePoint::min();  // almost done: before all that still has to be decoded
    pool_.Add(std::move(job));
  }
  return executed;
}

// ---- On the CPU pool again.

void Pipeline::Postprocess(Request& request, size_t image, Prediction prediction,
                           const PictureSizes& sizes) {
  batcher_.Answered(request.model, clock_.Now() - request.answers[image].timing.batch_due);
  if (request.answered) return;
  const TimePoint begun = clock_.Now();
  ImageAnswer& answer = request.answers[image];
  std::variant<ImageResult, ServiceError> result = MakeResult(
      std::move(prediction), request.input, models_.at(request.model), sizes, limits_.reply_bytes);
  if (auto* error = std::get_if<ServiceError>(&result)) {
    return Fail(request, AtImage(image, std::move(*error)));
  }
  answer.result = std::get<ImageResult>(std::move(result));
  answer.timing.postprocess = clock_.Now() - begun;
  const Metrics::ModelMetrics& metrics = metrics_.model(request.model);
  metrics.stage(Stage::kPostprocess).Observe(Seconds(answer.timing.postprocess));
  if (--request.missing > 0) return;
  const TimePoint now = clock_.Now();
  metrics.finish_prediction_ratio.Observe(Seconds(now - request.input.arrival) /
                                          Seconds(request.answers[0].timing.predicted));
  // An answer that comes late is no answer, whoever sees the deadline first.
  if (now > request.deadline) return Fail(request, LateError(now - request.deadline));
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

// Nobody waits for the answer any more.
bool Pipeline::Unwanted(const Request& request) const {
  return request.answered || request.deadline <= clock_.Now();
}

// Counts an image that is not worked on as dropped.
void Pipeline::Skip(Request& request, size_t image) {
  const bool late = !request.answered;
  const Metrics::ModelMetrics& metrics = metrics_.model(request.model);
  metrics.drop(late ? DropLabel::kDeadline : request.skipped_as.load()).Increment();
  metrics.saved_device_seconds.Increment(
      Seconds(batcher_.PredictShare(request.model, request.plans[image].input_pixels)));
  if (late) Fail(request, FromDrop(DropReason::kDeadline));
}

void Pipeline::Fail(Request& request, ServiceError error) {
  if (error.reason == ErrorReason::kDeadlineExceeded) request.skipped_as = DropLabel::kDeadline;
  if (error.reason == ErrorReason::kOverloaded) request.skipped_as = DropLabel::kOverload;
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
