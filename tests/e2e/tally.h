#pragma once

#include <atomic>
#include <cstdint>

#include "tests/server/client.h"

namespace spatialmamba {

// What calls ended with, by gRPC's code.
struct Tally {
  std::atomic<int64_t> codes[17] = {};
  void Add(const Reply& reply) { ++codes[reply.status.error_code()]; }
  int64_t operator[](grpc::StatusCode code) const { return codes[code]; }
  int64_t Others() const {
    int64_t others = 0;
    for (const auto& count : codes) others += count;
    return others - codes[grpc::OK] - codes[grpc::UNAVAILABLE];
  }
};

}  // namespace spatialmamba
