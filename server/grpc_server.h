#pragma once

#include <memory>
#include <vector>

#include <grpcpp/server.h>

#include "absl/status/statusor.h"
#include "server/config.h"

namespace spatialmamba {

struct GrpcServer {
  std::unique_ptr<grpc::Server> server;
  Endpoint address;  // with the real port
};

// Listens and serves from gRPC's own threads. `services` outlive the server. An error names the
// address if it cannot be listened on.
absl::StatusOr<GrpcServer> StartGrpcServer(const Config& config,
                                           const std::vector<grpc::Service*>& services);

}  // namespace spatialmamba
