#include "clients/cpp/loadgen_caller.h"

#include <utility>

namespace spatialmamba::loadgen {

std::shared_ptr<Call> Caller::Start(const Ask& ask, Done done) {
  auto call = std::make_shared<Call>();
  call->request_ = target_.Request(ask.entry, ask.pick, ask.images);
  // gRPC's deadlines are on the system's clock, ours on the steady one.
  call->context_.set_deadline(std::chrono::time_point_cast<std::chrono::system_clock::duration>(
      std::chrono::system_clock::now() + (ask.until - Clock::now())));
  {
    const std::lock_guard lock(mutex_);
    ++in_flight_;
  }
  target_.NextStub(ask.entry).UnaryCall(
      &call->context_, target_.method(ask.entry), {}, &call->request_, &call->response_,
      [this, call, done = std::move(done)](const grpc::Status& status) {
        done(status, Clock::now());
        const std::lock_guard lock(mutex_);
        if (--in_flight_ == 0) {
          idle_.notify_all();
        }
      });
  return call;
}

void Caller::AwaitIdle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return in_flight_ == 0; });
}

}  // namespace spatialmamba::loadgen
