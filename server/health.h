#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"

namespace spatialmamba {

// gRPC's health protocol for "" (readiness), "liveness", "classify", "detect" and "segment": all
// NOT_SERVING at first but liveness. In place of gRPC's own service, which serves before anything
// is ready and whose open watches hold up a shutdown. Thread-safe; never blocks.
class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  HealthService();
  ~HealthService() override;

  // Names some of the services above. All change at once: whoever sees one of them changed, sees
  // the others changed too.
  void Set(const std::vector<std::string>& services, bool serving);
  // Ends all watches, those to come too.
  void EndWatches();

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;
  class Watcher;

  Status State(const std::string& service) const;
  void Remove(const std::shared_ptr<Watcher>& watcher);

  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, bool> serving_;
  std::set<std::shared_ptr<Watcher>> watchers_;
  bool ended_ = false;
};

}  // namespace spatialmamba
