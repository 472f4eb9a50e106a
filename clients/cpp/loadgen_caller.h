#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>

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
  grpc::ByteBuffer response_;
  grpc::Status status_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
};

// Starts calls and never waits for them: a thread of its own runs what is to be done at their end.
// Start() is for one thread at a time. (Not gRPC's callbacks: a call holds its channel, and a
// channel whose last holder lets it go on a callback's thread waits there for that very thread.)
class Caller {
 public:
  using Done = std::function<void(const grpc::Status& status, TimePoint finished)>;

  explicit Caller(Target& target);
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller();

  std::shared_ptr<Call> Start(const Ask& ask, Done done);

  // Until every call has ended; each has a deadline, so this ends.
  void AwaitIdle();

  // Calls that are started later are not touched.
  void CancelAll();

 private:
  struct Pending {
    std::shared_ptr<Call> call;
    Done done;
  };
  void Finish();

  Target& target_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::unordered_set<std::shared_ptr<Call>> in_flight_;  // guarded by mutex_
  grpc::CompletionQueue queue_;
  std::jthread finisher_;
};

}  // namespace spatialmamba::loadgen
