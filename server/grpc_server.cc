#include "server/grpc_server.h"

#include <dlfcn.h>
#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/log.h"

namespace spatialmamba {
namespace {

int ToInt(int64_t value) {
  return static_cast<int>(std::min<int64_t>(value, std::numeric_limits<int>::max()));
}

// Clients may ask whether the server lives so often; more often than allowed ends the connection.
constexpr int kShortestPingMilliseconds = 10'000;

void SetOptions(const Config& config, grpc::ServerBuilder& builder) {
  const GrpcConfig& grpc = config.grpc;
  const auto set = [&](const char* name, int64_t value) {
    builder.AddChannelArgument(name, ToInt(value));
  };
  // By default a second server would listen on the same port without a word.
  set(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(ToInt(config.limits.message_bytes));
  builder.SetMaxSendMessageSize(-1);  // replies are bounded by limits.reply_bytes, with a message
  if (grpc.max_connection_age.count() > 0) {
    set(GRPC_ARG_MAX_CONNECTION_AGE_MS, grpc.max_connection_age.count());
    set(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, grpc.max_connection_age_grace.count());
  }
  set(GRPC_ARG_KEEPALIVE_TIME_MS, grpc.keepalive_time.count());
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, grpc.keepalive_timeout.count());
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kShortestPingMilliseconds);
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS, grpc.max_concurrent_streams);
  set(GRPC_ARG_ENABLE_CHANNELZ, grpc.channelz ? 1 : 0);
}

// The reflection library puts itself into every server of a process that is linked with it, so it
// is loaded only where it is wanted. It stays for the process's life.
void LoadReflection() {
  constexpr const char* kLibrary = "libgrpc++_reflection.so.1.51";
  if (dlopen(kLibrary, RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  const char* reason = dlerror();
  Log(LogLevel::kWarning, "reflection_unavailable",
      {{"reason", reason == nullptr ? "unknown" : reason}});
}

}  // namespace

absl::StatusOr<GrpcServer> StartGrpcServer(const Config& config,
                                           const std::vector<grpc::Service*>& services) {
  if (config.grpc.reflection) LoadReflection();
  if (config.grpc.channelz) grpc::channelz::experimental::InitChannelzService();
  grpc::EnableDefaultHealthCheckService(false);  // the server has its own
  grpc::ServerBuilder builder;
  SetOptions(config, builder);
  GrpcServer result{.address = config.listen};
  builder.AddListeningPort(config.listen.ToString(), grpc::InsecureServerCredentials(),
                           &result.address.port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  result.server = builder.BuildAndStart();
  if (!result.server || result.address.port == 0) {
    return absl::UnavailableError(absl::StrCat(
        "listen: cannot listen on ", config.listen.ToString(),
        ": the address is in use or not of this machine; change listen or stop the other process"));
  }
  return result;
}

}  // namespace spatialmamba
