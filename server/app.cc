#include "server/app.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/ops/instruction_set.h"
#include "model/runtime/cuda_devices.h"
#include "server/log.h"
#include "server/model_loader.h"
#include "server/warm_up.h"

namespace spatialmamba {
namespace {

// How long requests are refused at least before connections end: callers that send one after the
// other learn from a refusal that they should go elsewhere, and when to try again.
constexpr std::chrono::milliseconds kFarewell{250};
// After the last answer was given, for it to reach its caller.
constexpr std::chrono::seconds kFlush{2};

int Threads(int64_t configured) {
  return configured > 0 ? static_cast<int>(configured) : UsableCores();
}

MetricsOptions ToMetricsOptions(const Config& config, const ModelTable& models,
                                const std::vector<std::string>& devices) {
  MetricsOptions options{.devices = devices,
                         .error_reasons = ErrorReasonNames(),
                         .latency_buckets = config.metrics.latency_buckets,
                         .version = ServerVersion()};
  for (const ServedModel& model : models.models()) {
    options.models.push_back({.name = model.name,
                              .version = model.version,
                              .task = Name(model.spec.task),
                              .variant = std::string(VariantName(model.spec.variant)),
                              .precision = std::string(PrecisionName(model.spec)),
                              .sha256 = model.sha256});
  }
  return options;
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// What computes, and why it is not a GPU where `auto` found none.
void LogDevices(const Devices& devices, const CudaDevices& found, const ThreadPool& threads) {
  std::vector<std::string> gpus;
  for (const int gpu : devices.gpus) {
    gpus.push_back(found.devices[static_cast<size_t>(gpu)].name);
  }
  if (!gpus.empty()) {
    Log(LogLevel::kInfo, "device",
        {{"device", absl::StrJoin(devices.names, ", ")}, {"gpus", absl::StrJoin(gpus, ", ")}});
    return;
  }
  Log(LogLevel::kInfo, "device",
      {{"device", "cpu"},
       {"threads", threads.threads()},
       {"instruction_set", Name(CurrentInstructionSet())},
       {"no_gpu", devices.why_cpu.empty() ? "as configured" : devices.why_cpu}});
}

}  // namespace

std::string ServerVersion() { return SPATIALMAMBA_VERSION; }

App::App(const Config& config, Parts parts)
    : config_(config),
      devices_(std::move(parts.devices)),
      on_failure_(std::move(parts.on_failure)),
      threads_(std::move(parts.threads)),
      models_(std::move(parts.models)),
      metrics_(ToMetricsOptions(config_, models_, devices_.names)),
      load_(clock_, static_cast<int>(devices_.names.size())),
      batch_metrics_(metrics_, load_),
      pipeline_({.limits = config_.limits,
                 .decode_threads = Threads(config_.decode_threads),
                 .devices = static_cast<int>(devices_.names.size())},
                {models_, metrics_, batch_metrics_, clock_,
                 [this](int device, const std::string& why) { DeviceFailed(device, why); }}),
      vision_({pipeline_, models_, config_.limits, devices_.names, metrics_, load_}) {
  metrics_.SetQueueSource([this](int model) {
    const QueueState queue = pipeline_.Queue(model);
    return QueueSample{.depth = queue.depth,
                       .capacity = queue.capacity,
                       .oldest_age = queue.oldest_age,
                       .predicted_drain = queue.predicted_drain};
  });
  metrics_.SetDeviceSource([this](int device) { return SampleDevice(device); });
}

App::~App() {
  if (grpc_.server && !stopped_) StopGrpc(clock_.Now());
  metrics_.SetQueueSource({});
  metrics_.SetDeviceSource({});
}

absl::StatusOr<std::unique_ptr<App>> App::Start(const Config& config,
                                                std::function<void()> on_failure) {
  if (const absl::Status status = CheckSupported(config); !status.ok()) return status;
  const CudaDevices found = ListCudaDevices();
  absl::StatusOr<Devices> devices = ChooseDevices(config.device, found);
  if (!devices.ok()) return devices.status();
  auto threads = std::make_unique<ThreadPool>(Threads(config.threads));
  LogDevices(*devices, found, *threads);
  absl::StatusOr<std::vector<ServedModel>> models = LoadModels(config, *devices, *threads);
  if (!models.ok()) return models.status();
  std::unique_ptr<App> app(new App(config, {.devices = *std::move(devices),
                                            .threads = std::move(threads),
                                            .models = *std::move(models),
                                            .on_failure = std::move(on_failure)}));
  if (absl::Status status = app->Listen(); !status.ok()) return status;
  if (absl::Status status = app->WarmUpModels(); !status.ok()) return status;
  app->SetState(HealthState::kServing);
  Log(LogLevel::kInfo, "ready",
      {{"grpc", app->grpc_address().ToString()}, {"admin", app->admin_address().ToString()}});
  return app;
}

absl::Status App::Listen() {
  AdminPages pages{.metrics = [this] { return metrics_.Serialize(); },
                   .not_ready = [this] { return NotReady(); },
                   .version = absl::StrCat("{\"name\":\"spatial-mamba-server\",\"version\":\"",
                                           ServerVersion(), "\"}\n")};
  absl::StatusOr<std::unique_ptr<AdminServer>> admin =
      AdminServer::Start(config_.admin, std::move(pages));
  if (!admin.ok()) return admin.status();
  admin_ = *std::move(admin);
  absl::StatusOr<GrpcServer> grpc = StartGrpcServer(config_, {&vision_, &health_});
  if (!grpc.ok()) return grpc.status();
  grpc_ = *std::move(grpc);
  Log(LogLevel::kInfo, "listening",
      {{"grpc", grpc_address().ToString()}, {"admin", admin_address().ToString()}});
  return absl::OkStatus();
}

absl::Status App::WarmUpModels() {
  for (size_t i = 0; i < models_.models().size(); ++i) {
    const ServedModel& model = models_.models()[i];
    const auto index = static_cast<int>(i);
    Profile profile;
    try {
      profile = WarmUpOne(model);
    } catch (const std::exception& error) {
      return absl::InternalError(absl::StrCat("models.", i, " (", model.name,
                                              "): a first forward pass failed: ", error.what()));
    }
    pipeline_.SetProfile(index, profile.fixed, profile.seconds_per_pixel);
    const Metrics::ModelMetrics& metrics = metrics_.model(index);
    metrics.load_seconds.Set(Seconds(model.load_time));
    metrics.warmup_seconds.Set(Seconds(profile.taken));
    metrics.loaded.Set(1);
    Log(LogLevel::kInfo, "model_warm",
        {{"model", model.name},
         {"fixed_seconds", profile.fixed},
         {"seconds_per_megapixel", profile.seconds_per_pixel * 1e6},
         {"duration_seconds", profile.taken}});
  }
  return absl::OkStatus();
}

// On all devices; the slowest counts, as any may be the next.
Profile App::WarmUpOne(const ServedModel& model) const {
  Profile slowest;
  Duration taken = Duration::zero();
  for (const std::unique_ptr<Replica>& replica : model.replicas) {
    const Profile profile = WarmUp(model, *replica);
    taken += profile.taken;
    if (profile.seconds_per_pixel >= slowest.seconds_per_pixel) slowest = profile;
  }
  slowest.taken = taken;
  return slowest;
}

DeviceSample App::SampleDevice(int device) const {
  DeviceSample sample;
  const auto index = static_cast<size_t>(device);
  if (!devices_.gpus.empty()) {
    const CudaMemory memory = CudaMemoryOf(devices_.gpus[index]);
    sample.memory_used = static_cast<double>(memory.total - memory.free);
    sample.memory_total = static_cast<double>(memory.total);
  }
  for (const ServedModel& model : models_.models()) {
    const DeviceErrorCounts errors = model.replicas[index]->Errors();
    for (size_t kind = 0; kind < errors.size(); ++kind) sample.errors[kind] += errors[kind];
  }
  return sample;
}

// Called by the device's worker, for every batch that it gives to the device from now on.
void App::DeviceFailed(int device, const std::string& why) {
  {
    const std::lock_guard lock(state_mutex_);
    if (!failure_.empty()) return;  // another device was the first
    failure_ = why;
  }
  SetState(HealthState::kFailed);
  Log(LogLevel::kError, "device_failed",
      {{"device", devices_.names[static_cast<size_t>(device)]}, {"why", why}});
  pipeline_.Abandon();
  if (on_failure_) on_failure_();
}

void App::SetState(HealthState state) {
  {
    const std::lock_guard lock(state_mutex_);
    if (failed()) return;  // for good
    state_ = state;
  }
  // Outside of the lock, so that what is told last may be what was true before: told again then.
  do {
    state = state_;
    Tell(state);
  } while (state != state_);
}

void App::Tell(HealthState state) {
  const bool serving = state == HealthState::kServing;
  metrics_.SetHealth(state);
  if (serving) vision_.SetReady(true);
  std::vector<std::string> services = {""};
  for (const ServedModel& model : models_.models()) {
    services.emplace_back(Name(model.spec.task));
  }
  health_.Set(services, serving);
}

std::string App::NotReady() const {
  switch (state_.load()) {
    case HealthState::kStarting:
      return "the models are being warmed up";
    case HealthState::kServing:
      return "";
    case HealthState::kDraining:
      return "the server is shutting down";
    case HealthState::kFailed: {
      const std::lock_guard lock(state_mutex_);
      return failure_;
    }
  }
  return "unknown state";
}

void App::Drain() {
  SetState(HealthState::kDraining);
  Log(LogLevel::kInfo, "draining",
      {{"delay_seconds", config_.drain.delay}, {"timeout_seconds", config_.drain.timeout}});
  WaitUntil(clock_.Now() + config_.drain.delay);
  StopGrpc(clock_.Now() + config_.drain.timeout);
}

// First the requests, then the connections: gRPC cuts off, without a status, the calls that reach a
// server which it is shutting down, and that must hit neither an accepted call nor one that could
// be told to go elsewhere.
void App::StopGrpc(TimePoint deadline) {
  stopped_ = true;
  const TimePoint begun = clock_.Now();
  const int64_t failed = pipeline_.Drain(deadline);
  WaitUntil(std::min(begun + kFarewell, deadline));
  health_.EndWatches();
  grpc_.server->Shutdown(std::chrono::system_clock::now() + kFlush);
  Log(LogLevel::kInfo, "drained",
      {{"failed_requests", failed}, {"duration_seconds", clock_.Now() - begun}});
}

void App::WaitUntil(TimePoint time) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  clock_.WaitUntil(lock, never, time, [] { return false; });
}

}  // namespace spatialmamba
