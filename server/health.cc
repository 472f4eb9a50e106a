#include "server/health.h"

#include <algorithm>
#include <utility>

namespace spatialmamba {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One watch. gRPC allows one write at a time, so a change during a write is sent after it, and only
// the latest one. Lives until gRPC is done with it and nobody holds it any more.
class HealthService::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse>,
                                     public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(HealthService& owner, std::string service)
      : owner_(owner), service_(std::move(service)) {}

  const std::string& service() const { return service_; }

  // Sends the service's state if it has changed.
  void Update() {
    {
      const std::lock_guard lock(mutex_);
      wanted_ = owner_.State(service_);
    }
    Proceed();
  }

  void End() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    Proceed();
  }

  void OnWriteDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok) ending_ = true;
    }
    Proceed();
  }

  void OnCancel() override { End(); }
  void OnDone() override { owner_.Remove(shared_from_this()); }

 private:
  // Starts what is to be done next, outside of the lock: gRPC may answer at once.
  void Proceed() {
    bool finish = false;
    {
      const std::lock_guard lock(mutex_);
      if (writing_ || finished_) return;
      if (ending_) {
        finished_ = finish = true;
      } else if (wanted_ != sent_) {
        writing_ = true;
        sent_ = wanted_;
        message_.set_status(sent_);
      } else {
        return;
      }
    }
    if (finish) {
      Finish({grpc::UNAVAILABLE, "the server is shutting down: watch another one"});
    } else {
      StartWrite(&message_);
    }
  }

  HealthService& owner_;
  const std::string service_;
  std::mutex mutex_;  // guards what follows
  Status wanted_ = HealthCheckResponse::UNKNOWN;
  Status sent_ = HealthCheckResponse::UNKNOWN;
  bool writing_ = false;
  bool ending_ = false;
  bool finished_ = false;
  HealthCheckResponse message_;  // of the write under way
};

HealthService::HealthService()
    : serving_{{"", false},
               {"liveness", true},
               {"classify", false},
               {"detect", false},
               {"segment", false}} {}

HealthService::~HealthService() = default;

HealthService::Status HealthService::State(const std::string& service) const {
  const std::lock_guard lock(mutex_);
  const auto found = serving_.find(service);
  if (found == serving_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  return found->second ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void HealthService::Set(const std::vector<std::string>& services, bool serving) {
  std::vector<std::shared_ptr<Watcher>> concerned;
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& service : services) serving_[service] = serving;
    for (const auto& watcher : watchers_) {
      if (std::ranges::find(services, watcher->service()) != services.end()) {
        concerned.push_back(watcher);
      }
    }
  }
  for (const auto& watcher : concerned) watcher->Update();
}

void HealthService::EndWatches() {
  std::set<std::shared_ptr<Watcher>> all;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    all = watchers_;
  }
  for (const auto& watcher : all) watcher->End();
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Status state = State(request->service());
  if (state == HealthCheckResponse::SERVICE_UNKNOWN) {
    reactor->Finish(
        {grpc::NOT_FOUND, "unknown service: ask for \"\", liveness, classify, detect or segment"});
  } else {
    response->set_status(state);
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  const auto watcher = std::make_shared<Watcher>(*this, request->service());
  bool ended = false;
  {
    const std::lock_guard lock(mutex_);
    watchers_.insert(watcher);
    ended = ended_;
  }
  if (ended) {
    watcher->End();
  } else {
    watcher->Update();
  }
  return watcher.get();
}

void HealthService::Remove(const std::shared_ptr<Watcher>& watcher) {
  const std::lock_guard lock(mutex_);
  watchers_.erase(watcher);
}

}  // namespace spatialmamba
