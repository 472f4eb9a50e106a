#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "batching/clock.h"
#include "model/runtime/thread_pool.h"
#include "server/admin.h"
#include "server/batch_metrics.h"
#include "server/config.h"
#include "server/grpc_server.h"
#include "server/health.h"
#include "server/load_meter.h"
#include "server/metrics.h"
#include "server/model_table.h"
#include "server/pipeline.h"
#include "server/vision_service.h"

namespace spatialmamba {

// The version of the program, "0.1.0".
std::string ServerVersion();

// The server as a whole: owns every object, in the order of dependency. Used by main and by tests,
// which give it port 0 on loopback.
class App {
 public:
  // Loads the models, listens, warms up; ready when it returns. An error is one line for the
  // operator.
  static absl::StatusOr<std::unique_ptr<App>> Start(const Config& config);
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

  Metrics& metrics() { return metrics_; }

 private:
  App(const Config& config, std::unique_ptr<ThreadPool> threads, std::vector<ServedModel> models);

  absl::Status Listen();
  absl::Status WarmUpModels();
  void SetState(HealthState state);
  std::string NotReady() const;
  void StopGrpc(TimePoint deadline);
  void WaitUntil(TimePoint time);

  const Config config_;
  const std::vector<std::string> devices_ = {"cpu"};
  SteadyClock clock_;
  const std::unique_ptr<ThreadPool> threads_;
  const ModelTable models_;
  Metrics metrics_;
  LoadMeter load_;
  BatchMetrics batch_metrics_;
  Pipeline pipeline_;
  HealthService health_;
  VisionService vision_;
  std::atomic<HealthState> state_ = HealthState::kStarting;
  // The ports, last: nobody comes in any more when the rest is destroyed.
  std::unique_ptr<AdminServer> admin_;
  GrpcServer grpc_;
};

}  // namespace spatialmamba
