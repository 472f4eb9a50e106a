// The real program, ended and started again many times under load.
#include <signal.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/server_process.h"
#include "tests/e2e/tally.h"
#include "tests/server/client.h"
#include "tests/server/tiny_model.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;

constexpr int kConnections = 3;
constexpr int kCallers = 12;

int64_t CountLines(const std::string& text, std::string_view part) {
  int64_t lines = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++lines;
  return lines;
}

// Callers that call until they are refused, and a SIGTERM in the midst of it. The log has a line
// for every request that came in: each that was answered reached its caller, and none was given up.
void EndUnderLoad(const std::string& drain, int64_t answers) {
  const ScratchFolder folder;
  RunningServer server(folder.path(), "drain: {delay: " + drain + "}\n");
  ASSERT_TRUE(server.ready()) << server.Log();
  v1::ClassifyRequest request;
  for (int i = 0; i < 2; ++i) AddRaw(i, 96, 96, request);
  Tally tally;
  {
    std::vector<std::unique_ptr<TestClient>> clients;
    for (int i = 0; i < kConnections; ++i) {
      clients.push_back(std::make_unique<TestClient>(server.grpc_port()));
    }
    std::vector<std::jthread> callers;
    for (size_t i = 0; i < kCallers; ++i) {
      callers.emplace_back([&, client = clients[i % kConnections].get()] {
        for (Reply reply; reply.status.ok(); tally.Add(reply)) reply = client->Classify(request);
      });
    }
    while (tally[grpc::OK] < answers) std::this_thread::yield();
    server.Signal(SIGTERM);
  }
  EXPECT_EQ(server.Wait(), 0) << server.Log();
  const std::string log = server.Log();
  EXPECT_THAT(log, HasSubstr("drained failed_requests=0"));
  EXPECT_EQ(tally[grpc::OK], CountLines(log, " request method=Classify code=0 "));
  EXPECT_EQ(tally.Others(), 0);
}

TEST(Restart, SigtermUnderLoadLosesNoAcceptedRequest) {
  // The signal comes at another moment each time, with and without a delay.
  for (int i = 0; i < 100 && !HasFailure(); ++i) EndUnderLoad(i % 4 == 3 ? "100ms" : "0s", 5 + i);
}

}  // namespace
}  // namespace spatialmamba
