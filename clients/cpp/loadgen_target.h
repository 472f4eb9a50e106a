#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "clients/cpp/loadgen_mix.h"
#include "spatialmamba/v1/vision.pb.h"

namespace spatialmamba::loadgen {

struct TargetOptions {
  std::string server;                                             // host:port
  int64_t connections = 0;                                        // 0: one for each entry
  std::chrono::milliseconds patience = std::chrono::seconds(10);  // for connecting and probing
};

// The server with everything that can be prepared before the clock runs: open connections and
// requests as bytes, so that sending copies no image.
class Target {
 public:
  // Loads the images and connects. The error says what to do.
  static absl::StatusOr<std::unique_ptr<Target>> Prepare(std::vector<MixEntry> mix,
                                                         const TargetOptions& options);

  const std::vector<MixEntry>& mix() const { return mix_; }
  void set_deadline(size_t entry, std::chrono::nanoseconds deadline) {
    mix_[entry].deadline = deadline;
  }
  const std::string& server() const { return options_.server; }
  size_t connections() const { return channels_.size(); }
  size_t images(size_t entry) const { return requests_[entry].images.size(); }

  // Images `pick`, `pick` + 1, ... of the entry, modulo their number.
  grpc::ByteBuffer Request(size_t entry, uint64_t pick, int64_t images) const;
  const std::string& method(size_t entry) const { return requests_[entry].method; }
  // The entry's own, or each in turn where the number of connections was given. Thread-safe.
  grpc::GenericStub& NextStub(size_t entry);

  // Sends one image for each entry and checks that it was answered with one result.
  absl::Status Probe();

  // What the server has loaded; empty if it does not say.
  v1::ListModelsResponse ListModels();

 private:
  // Messages concatenate: the bytes of a request with only the model, then those of requests with
  // only one image each, are a request with all of them.
  struct Prepared {
    std::string method;
    grpc::Slice head;
    std::vector<grpc::Slice> images;
  };

  Target(std::vector<MixEntry> mix, TargetOptions options)
      : mix_(std::move(mix)), options_(std::move(options)) {}
  absl::Status LoadRequests();
  absl::Status OpenConnections();

  std::vector<MixEntry> mix_;
  TargetOptions options_;
  std::vector<Prepared> requests_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::atomic<size_t> turn_ = 0;
};

}  // namespace spatialmamba::loadgen
