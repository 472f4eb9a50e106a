#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "clients/cpp/loadgen_target.h"

namespace spatialmamba::loadgen {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// One request to send.
struct Ask {
  size_t entry = 0;  // of the mixture
  uint64_t pick = 0;
  int64_t images = 1;
  TimePoint until;  // the deadline that the server sees
};

// A call under way. Keep it only to cancel it.
class Call {
 public:
  void Cancel() { context_.TryCancel(); }

 private:
  friend class Caller;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

// Starts calls and never waits for them: gRPC's threads run what is to be done at their end.
// Start() is for one thread at a time.
class Caller {
 public:
  using Done = std::function<void(const grpc::Status& status, TimePoint finished)>;

  explicit Caller(Target& target) : target_(target) {}
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() { AwaitIdle(); }

  std::shared_ptr<Call> Start(const Ask& ask, Done done);

  // Until every call has ended; each has a deadline, so this ends.
  void AwaitIdle();

 private:
  Target& target_;
  std::mutex mutex_;
  std::condition_variable idle_;
  int64_t in_flight_ = 0;  // guarded by mutex_
};

}  // namespace spatialmamba::loadgen
