#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "batching/clock.h"
#include "model/runtime/thread_pool.h"
#include "server/admin.h"
#include "server/batch_metrics.h"
#include "server/config.h"
#include "server/devices.h"
#include "server/grpc_server.h"
#include "server/health.h"
#include "server/load_meter.h"
#include "server/metrics.h"
#include "server/model_table.h"
#include "server/pipeline.h"
#include "server/vision_service.h"
#include "server/warm_up.h"

namespace spatialmamba {

// The version of the program, "0.1.0".
std::string ServerVersion();

// The server as a whole: owns every object, in the order of dependency. Used by main and by tests,
// which give it port 0 on loopback.
class App {
 public:
  // Loads the models, listens, warms up; ready when it returns. An error is one line for the
  // operator. `on_failure` is called, on some thread, if a device fails later: then no request is
  // accepted any more, and the owner should Drain and end the process.
  static absl::StatusOr<std::unique_ptr<App>> Start(const Config& config,
                                                    std::function<void()> on_failure = {});
  // Ends what is in flight at once, if Drain was not called.
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Addresses with their real ports.
  const Endpoint& grpc_address() const { return grpc_.address; }
  const Endpoint& admin_address() const { return admin_->address(); }

  // Readiness off, liveness on; accepts for drain.delay more; then refuses (DRAINING), finishes all
  // that was accepted, fails at drain.timeout what is unfinished, and ends the connections. The
  // admin port serves until the destructor. Blocks; once.
  void Drain();

  // Whether a device has failed.
  bool failed() const { return state_ == HealthState::kFailed; }
  Metrics& metrics() { return metrics_; }

 private:
  struct Parts {
    Devices devices;
    std::unique_ptr<ThreadPool> threads;
    std::vector<ServedModel> models;
    std::function<void()> on_failure;
  };
  App(const Config& config, Parts parts);

  absl::Status Listen();
  absl::Status WarmUpModels();
  Profile WarmUpOne(const ServedModel& model) const;
  DeviceSample SampleDevice(int device) const;
  void DeviceFailed(int device, const std::string& why);
  void SetState(HealthState state);
  void Tell(HealthState state);  // metrics, the service, health checks
  std::string NotReady() const;
  void StopGrpc(TimePoint deadline);
  void WaitUntil(TimePoint time);

  const Config config_;
  const Devices devices_;
  const std::function<void()> on_failure_;
  SteadyClock clock_;
  const std::unique_ptr<ThreadPool> threads_;
  const ModelTable models_;
  Metrics metrics_;
  LoadMeter load_;
  BatchMetrics batch_metrics_;
  HealthService health_;
  mutable std::mutex state_mutex_;  // guards failure_ and changes of state_
  std::string failure_;             // of the device
  std::atomic<HealthState> state_ = HealthState::kStarting;
  Pipeline pipeline_;  // its workers may tell of a failure until it is destroyed
  VisionService vision_;
  bool stopped_ = false;  // gRPC
  // The ports, last: nobody comes in any more when the rest is destroyed.
  std::unique_ptr<AdminServer> admin_;
  GrpcServer grpc_;
};

}  // namespace spatialmamba
