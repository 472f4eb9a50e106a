#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/config.h"

namespace spatialmamba {

// What the admin port shows. Each is called on one of the port's threads, at any time until the
// server is gone.
struct AdminPages {
  std::function<std::string()> metrics;    // Prometheus' text format
  std::function<std::string()> not_ready;  // why the server cannot answer requests; empty: it can
  std::string version;                     // JSON
};

// The HTTP port for operators: /metrics, /livez (200 while the process runs), /readyz (503 with the
// reason when not ready), /version. Serves from its own threads from Start until it is destroyed,
// which takes a moment at most.
class AdminServer {
 public:
  // Port 0 takes a free port. An error names the address if it cannot be listened on.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(const Endpoint& address,
                                                            AdminPages pages);
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // With the real port.
  const Endpoint& address() const;

 private:
  struct State;
  explicit AdminServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace spatialmamba
