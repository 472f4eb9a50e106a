#include "server/pipeline.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>
#include <utility>

#include "model/runtime/device_error.h"
#include "model/tasks/preprocess.h"
#include "server/picture.h"
#include "server/postprocess.h"
#include "server/tiled_picture.h"

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

  // What is scheduled; each written by its own jobs, one after the other.
  struct Part {
    size_t image = 0;
    int64_t tile = 0;
    Timing timing;
  };
  std::vector<Part> parts;                           // by image
  std::vector<std::unique_ptr<TiledPicture>> tiled;  // by image; null: worked on whole
  std::vector<std::atomic<int64_t>> unfinished;      // by image: parts
  std::vector<ImageAnswer> answers;
  std::atomic<size_t> missing = 0;  // answers
  std::atomic<bool> answered = false;
  std::atomic<DropLabel> skipped_as = DropLabel::kCancelled;  // why its other images are not run
};

// A part of a request from its admission until it has run.
class Pipeline::ImageTask final : public Task {
 public:
  ImageTask(const TaskInfo& task, std::shared_ptr<Request> of, size_t at)
      : Task(task), request(std::move(of)), part(at) {}

  bool Cancelled() const override { return request->answered; }
  void Drop(DropReason reason) override { request->pipeline.Fail(*request, FromDrop(reason)); }

  // Once it is prepared.
  PictureSizes sizes() const {
    return {request->plans[image()].part, {input.valid_height, input.valid_width}};
  }
  size_t image() const { return request->parts[part].image; }

  const std::shared_ptr<Request> request;
  const size_t part;
  NetworkInput input;  // once it is prepared
  TimePoint prepared;
};

Pipeline::Pipeline(const Options& options, const Parts& parts)
    : limits_(options.limits),
      models_(parts.models),
      metrics_(parts.metrics),
      clock_(parts.clock),
      on_device_failure_(parts.on_device_failure),
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
  auto plans = PlanPictures(request.input, models_.at(request.model), limits_);
  if (auto* error = std::get_if<ServiceError>(&plans)) return std::move(*error);
  request.plans = std::get<std::vector<PicturePlan>>(std::move(plans));
  return std::nullopt;
}

// From here on the batcher has the request: its images are prepared, run, dropped and answered
// without this thread, which may happen before this returns.
Pipeline::Error Pipeline::Admit(const std::shared_ptr<Request>& request) {
  const ServedModel& model = models_.at(request->model);
  std::vector<std::unique_ptr<Task>> tasks;
  request->unfinished = std::vector<std::atomic<int64_t>>(request->plans.size());
  for (size_t image = 0; image < request->plans.size(); ++image) {
    const PicturePlan& plan = request->plans[image];
    request->unfinished[image] = plan.parts;
    const TaskInfo info{.model = request->model,
                        .caller = request->input.caller,
                        .pixels = plan.input_pixels,
                        .bytes = plan.queue_bytes,
                        .prepare_bytes = plan.decode_bytes,
                        .ready_bytes = plan.input_bytes + plan.output_bytes,
                        .arrival = request->input.arrival,
                        .deadline = LeaveBy(request->input.arrival, request->deadline)};
    for (int64_t tile = 0; tile < plan.parts; ++tile) {
      request->parts.push_back({.image = image, .tile = tile, .timing = {}});
      tasks.push_back(std::make_unique<ImageTask>(info, request, tasks.size()));
    }
    request->answers.push_back({.height = plan.height, .width = plan.width});
    request->tiled.push_back(nullptr);
    if (plan.tiling) {
      request->tiled.back() = std::make_unique<TiledPicture>(plan, request->input.options, model);
    }
  }
  const auto images = static_cast<double>(tasks.size());
  const Metrics::MethodMetrics& metrics = metrics_.method(request->input.method);
  request->missing = request->plans.size();
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
  pool_.Add(MakeJob(task.request, task.part, [this, shared] { PrepareNow(shared); }));
}

void Pipeline::PrepareNow(const std::shared_ptr<Batcher::Preparation>& preparation) {
  auto& task = static_cast<ImageTask&>(preparation->task());
  Request& request = *task.request;
  if (Unwanted(request)) return Skip(request, task.part);
  TiledPicture* tiled = request.tiled[task.image()].get();
  if (tiled == nullptr) {
    ReadInput(task, PartPixels(task));
    return batcher_.Ready(std::move(*preparation));
  }
  const auto again = [this, preparation, &task] {
    pool_.Add(MakeJob(task.request, task.part, [this, preparation] { PrepareNow(preparation); }));
  };
  const TiledPicture::Pixels pixels = tiled->Want(again);
  if (pixels == TiledPicture::Pixels::kBeingDecoded) return;
  if (pixels == TiledPicture::Pixels::kToDecode) {
    std::optional<Image> decoded;
    std::exception_ptr failure;
    try {
      decoded = PartPixels(task);
    } catch (...) {
      failure = std::current_exception();
      Fail(request, AtImage(task.image(), FromException(failure)));
    }
    for (const TiledPicture::Again& waiting : tiled->Decoded(std::move(decoded))) waiting();
    if (failure) return;
  }
  ReadInput(task, tiled->Cut(request.parts[task.part].tile));
  batcher_.Ready(std::move(*preparation));
}

// Decodes the picture of the task.
Image Pipeline::PartPixels(ImageTask& task) {
  Request& request = *task.request;
  const Metrics::ModelMetrics& metrics = metrics_.model(request.model);
  Timing& timing = request.parts[task.part].timing;
  PictureSource& source = request.input.images[task.image()];
  const TimePoint begun = clock_.Now();
  Image pixels = DecodePicture(source, request.plans[task.image()], models_.at(request.model));
  source = PictureSource();  // its bytes are not needed any more
  timing.prepare_wait = begun - request.input.arrival;
  timing.decode = clock_.Now() - begun;
  metrics.stage(Stage::kPrepareWait).Observe(Seconds(timing.prepare_wait));
  metrics.stage(Stage::kDecode).Observe(Seconds(timing.decode));
  return pixels;
}

void Pipeline::ReadInput(ImageTask& task, const Image& pixels) {
  const Request& request = *task.request;
  Timing& timing = task.request->parts[task.part].timing;
  const TimePoint begun = clock_.Now();
  if (timing.decode == Duration::zero()) timing.prepare_wait = begun - request.input.arrival;
  task.input = Preprocess(pixels, models_.at(request.model).preprocess);
  task.prepared = clock_.Now();
  timing.preprocess = task.prepared - begun;
  metrics_.model(request.model).stage(Stage::kPreprocess).Observe(Seconds(timing.preprocess));
}

// ---- On a device's worker.

int64_t Pipeline::RunBatch(int device, const Batch& batch) {
  std::vector<ImageTask*> tasks;
  for (const std::unique_ptr<Task>& task : batch.tasks) {
    auto* image = static_cast<ImageTask*>(task.get());
    Request& request = *image->request;
    Timing& timing = request.parts[image->part].timing;
    timing.batch_formed = batch.formed;
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
  } catch (const DeviceFailure& failure) {
    FailOnDevice(device, tasks, failure.what());
    return 0;
  } catch (...) {
    if (tasks.size() == 1) {
      Fail(*tasks[0]->request, AtImage(tasks[0]->image(), FromException(std::current_exception())));
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
    const size_t part = tasks[i]->part;
    if (!predictions[i]) {
      Skip(*request, part);
      continue;
    }
    ++executed;
    if (Unwanted(*request)) {
      metrics.wasted_device_seconds.Increment(
          Seconds(batcher_.PredictShare(model, tasks[i]->info().pixels)));
    }
    request->parts[part].timing.inference = taken;
    WorkPool::Job job =
        MakeJob(request, part,
                [this, request, part, sizes = tasks[i]->sizes(),
                 prediction = std::make_shared<Prediction>(*std::move(predictions[i]))] {
                  Postprocess(*request, part, std::move(*prediction), sizes);
                });
    job.deadline = TimePoint::min();  // almost done: before all that still has to be decoded
    pool_.Add(std::move(job));
  }
  return executed;
}

// Not in halves: no image is to blame.
void Pipeline::FailOnDevice(int device, std::span<ImageTask* const> tasks, const std::string& why) {
  if (on_device_failure_) on_device_failure_(device, why);
  for (const ImageTask* task : tasks) Fail(*task->request, DeviceFailedError());
}

// ---- On the CPU pool again.

void Pipeline::Postprocess(Request& request, size_t index, Prediction prediction,
                           const PictureSizes& sizes) {
  Request::Part& part = request.parts[index];
  batcher_.Answered(request.model, clock_.Now() - part.timing.batch_due);
  if (request.answered) return;
  const TimePoint begun = clock_.Now();
  const ServedModel& model = models_.at(request.model);
  TiledPicture* tiled = request.tiled[part.image].get();
  std::optional<TiledPicture::Result> result =
      tiled != nullptr
          ? tiled->Add(part.tile, std::move(prediction), sizes, limits_.reply_bytes)
          : MakeResult(std::move(prediction), request.input, model, sizes, limits_.reply_bytes);
  if (result) {
    if (auto* error = std::get_if<ServiceError>(&*result)) {
      return Fail(request, AtImage(part.image, std::move(*error)));
    }
    request.answers[part.image].result = std::get<ImageResult>(*std::move(result));
  }
  part.timing.postprocess = clock_.Now() - begun;
  const Metrics::ModelMetrics& metrics = metrics_.model(request.model);
  metrics.stage(Stage::kPostprocess).Observe(Seconds(part.timing.postprocess));
  if (--request.unfinished[part.image] == 0) FinishImage(request, part.image);
}

// All parts of an image have run.
void Pipeline::FinishImage(Request& request, size_t image) {
  std::vector<Timing> timings;
  for (const Request::Part& part : request.parts) {
    if (part.image == image) timings.push_back(part.timing);
  }
  request.answers[image].timing = request.tiled[image] ? Combined(timings) : timings.front();
  if (--request.missing > 0) return;
  const TimePoint now = clock_.Now();
  metrics_.model(request.model)
      .finish_prediction_ratio.Observe(Seconds(now - request.input.arrival) /
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

// Counts a part that is not worked on as dropped.
void Pipeline::Skip(Request& request, size_t part) {
  const bool late = !request.answered;
  const Metrics::ModelMetrics& metrics = metrics_.model(request.model);
  metrics.drop(late ? DropLabel::kDeadline : request.skipped_as.load()).Increment();
  metrics.saved_device_seconds.Increment(Seconds(
      batcher_.PredictShare(request.model, request.plans[request.parts[part].image].input_pixels)));
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
    metrics.images_in_flight.Decrement(static_cast<double>(request.parts.size()));
  }
  request.done(request.model, std::move(outcome));
  {
    const std::lock_guard lock(mutex_);
    in_flight_.erase(&request);
  }
  answered_.notify_all();
}

WorkPool::Job Pipeline::MakeJob(const std::shared_ptr<Request>& request, size_t part,
                                std::function<void()> run) {
  return {.deadline = request->deadline,
          .run = std::move(run),
          .fail = [this, request, part](const std::exception_ptr& exception) {
            Fail(*request, AtImage(request->parts[part].image, FromException(exception)));
          }};
}

void Pipeline::Abandon() {
  BeginDrain();
  batcher_.Drain(clock_.Now());
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
