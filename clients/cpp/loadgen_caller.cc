#include "clients/cpp/loadgen_caller.h"

#include <utility>

namespace spatialmamba::loadgen {

Caller::Caller(Target& target) : target_(target), finisher_([this] { Finish(); }) {}

Caller::~Caller() {
  AwaitIdle();
  queue_.Shutdown();
}

std::shared_ptr<Call> Caller::Start(const Ask& ask, Done done) {
  auto call = std::make_shared<Call>();
  // gRPC's deadlines are on the system's clock, ours on the steady one.
  call->context_.set_deadline(std::chrono::time_point_cast<std::chrono::system_clock::duration>(
      std::chrono::system_clock::now() + (ask.until - Clock::now())));
  {
    const std::lock_guard lock(mutex_);
    in_flight_.insert(call);
  }
  call->reader_ = target_.NextStub(ask.entry).PrepareUnaryCall(
      &call->context_, target_.method(ask.entry), target_.Request(ask.entry, ask.pick, ask.images),
      &queue_);
  call->reader_->StartCall();
  call->reader_->Finish(&call->response_, &call->status_, new Pending{call, std::move(done)});
  return call;
}

void Caller::Finish() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    const TimePoint finished = Clock::now();
    const std::unique_ptr<Pending> pending(static_cast<Pending*>(tag));
    pending->done(pending->call->status_, finished);
    pending->done = nullptr;  // what it holds must not outlive AwaitIdle()
    const std::lock_guard lock(mutex_);
    in_flight_.erase(pending->call);
    if (in_flight_.empty()) idle_.notify_all();
  }
}

void Caller::AwaitIdle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return in_flight_.empty(); });
}

void Caller::CancelAll() {
  std::unordered_set<std::shared_ptr<Call>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls = in_flight_;
  }
  for (const std::shared_ptr<Call>& call : calls) call->Cancel();
}

}  // namespace spatialmamba::loadgen
