#include "clients/cpp/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <utility>

namespace spatialmamba {
namespace {

constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [{"service": "spatialmamba.v1.VisionService"}],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "2s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
})";

bool IsLoopback(const std::string& target) {
  return target.starts_with("localhost:") || target.starts_with("127.") ||
         target.starts_with("[::1]");
}

constexpr int kLargestMessage = 64 << 20;

std::shared_ptr<grpc::Channel> Create(const std::string& target, grpc::ChannelArguments arguments) {
  arguments.SetMaxReceiveMessageSize(kLargestMessage);
  if (IsLoopback(target)) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a proxy's loopback is not ours
  }
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  // A request above this is never retried; gRPC's default is 256 KB, less than a photo.
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, kLargestMessage);
  return Create(target, std::move(arguments));
}

std::shared_ptr<grpc::Channel> ConnectWithoutRetries(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return Create(target, std::move(arguments));
}

}  // namespace spatialmamba
