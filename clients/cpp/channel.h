#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace spatialmamba {

// A channel to "host:port". Calls of VisionService that the server refuses with UNAVAILABLE are
// tried up to five times, after the delay that the server asks for, or else a growing one of our
// own. Health is asked once.
std::shared_ptr<grpc::Channel> Connect(const std::string& target);

// A channel with a connection of its own, shared with no other channel, that never tries a call
// again: what the server says is what the caller sees.
std::shared_ptr<grpc::Channel> ConnectWithoutRetries(const std::string& target);

}  // namespace spatialmamba
