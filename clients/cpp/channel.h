#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace spatialmamba {

// A channel to "host:port". Calls of VisionService that the server refuses with UNAVAILABLE are
// tried up to five times, after the delay that the server asks for, or else a growing one of our
// own. Health is asked once.
std::shared_ptr<grpc::Channel> Connect(const std::string& target);

}  // namespace spatialmamba
