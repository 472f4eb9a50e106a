// The real program, from its start to its end, called over loopback.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "tests/e2e/server_process.h"
#include "tests/e2e/tally.h"
#include "tests/server/client.h"
#include "tests/server/tiny_model.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Requests(const std::string& code, const std::string& model = "tiny") {
  return "spatialmamba_requests_total{code=\"" + code + "\",method=\"Classify\",model=\"" + model +
         "\"}";
}

v1::ClassifyRequest Pictures(int count, int side) {
  v1::ClassifyRequest request;
  for (int i = 0; i < count; ++i) AddRaw(i, side, side, request);
  return request;
}

class ServerTest : public ::testing::Test {
 protected:
  // One line on standard error, exit code 1.
  void ExpectRefusesToStart(const std::vector<std::string>& arguments, const std::string& what) {
    ServerProcess server(folder_.path(), arguments);
    EXPECT_EQ(server.Wait(), 1);
    std::string log = server.Log();
    // Before it stumbled, it may have told of what went well.
    const size_t last = log.rfind("spatial-mamba-server: ");
    ASSERT_NE(last, std::string::npos) << log;
    const std::string line = log.substr(last);
    EXPECT_THAT(line, HasSubstr(what));
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
  }

  ScratchFolder folder_;
};

TEST_F(ServerTest, AnswersIsReadyAndEndsOnSigterm) {
  RunningServer server(folder_.path());
  ASSERT_TRUE(server.ready()) << server.Log();
  EXPECT_EQ(server.Get("/livez").code, 200);
  EXPECT_EQ(server.Get("/readyz").code, 200);
  EXPECT_THAT(server.Get("/version").text, HasSubstr("\"version\":\"0."));
  const TestClient client(server.grpc_port());
  const Reply reply = client.Classify(Pictures(2, 48));
  EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0) << server.Log();
  EXPECT_THAT(server.Log(), HasSubstr("drained failed_requests=0"));
}

TEST_F(ServerTest, MetricsCountWhatTheClientSentAndSatisfyPromtool) {
  RunningServer server(folder_.path(), "log: {level: error}\n");
  ASSERT_TRUE(server.ready()) << server.Log();
  const TestClient client(server.grpc_port());
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(client.Classify(Pictures(1 + i % 3, 32)).status.ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client.Classify({}).status.error_code(), grpc::INVALID_ARGUMENT);
  }
  v1::ClassifyRequest unknown = Pictures(1, 32);
  unknown.mutable_model()->set_name("none");
  EXPECT_EQ(client.Classify(unknown).status.error_code(), grpc::NOT_FOUND);
  const std::string page = server.Get("/metrics").text;
  EXPECT_EQ(MetricValue(page, Requests("OK")), 7);
  EXPECT_EQ(MetricValue(page, Requests("INVALID_ARGUMENT")), 3);
  EXPECT_EQ(MetricValue(page, Requests("NOT_FOUND", "")), 1);
  EXPECT_EQ(MetricValue(page, "spatialmamba_images_total{model=\"tiny\"}"), 13);
  EXPECT_EQ(MetricValue(page, "spatialmamba_requests_in_flight{method=\"Classify\"}"), 0);
  EXPECT_EQ(MetricValue(page, "spatialmamba_queue_depth{model=\"tiny\"}"), 0);

  if (std::system("promtool --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no promtool";
  const std::filesystem::path file = folder_.path() / "metrics";
  std::ofstream(file) << page;
  EXPECT_EQ(std::system(("promtool check metrics <" + file.string()).c_str()), 0);
}

TEST_F(ServerTest, ASecondSignalEndsItAtOnce) {
  RunningServer server(folder_.path(), "drain: {delay: 1h}\n");
  ASSERT_TRUE(server.ready()) << server.Log();
  server.Signal(SIGTERM);
  while (server.Get("/readyz").code == 200) std::this_thread::yield();
  EXPECT_EQ(server.Get("/readyz").code, 503);
  EXPECT_EQ(server.Get("/livez").code, 200);
  // Within the delay, callers who have not heard of it yet are served.
  EXPECT_TRUE(TestClient(server.grpc_port()).Classify(Pictures(1, 32)).status.ok());
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait(), 1);
}

TEST_F(ServerTest, FiveThousandImagesAreAnsweredOrRefusedWhole) {
  RunningServer server(folder_.path(), "log: {level: error}\n");
  ASSERT_TRUE(server.ready()) << server.Log();
  constexpr int kRequests = 79;
  const v1::ClassifyRequest request = Pictures(64, 64);
  Tally tally;
  std::atomic<int> wrong = 0;
  {
    std::vector<std::unique_ptr<TestClient>> clients;
    std::vector<std::jthread> callers;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(std::make_unique<TestClient>(server.grpc_port()));
    }
    for (int i = 0; i < kRequests; ++i) {
      callers.emplace_back([&, client = clients[static_cast<size_t>(i % 8)].get()] {
        const Reply reply = client->Classify(request);
        tally.Add(reply);
        const bool whole = reply.response.results_size() == 64;
        const bool refused = reply.error.reason() == "QUEUE_FULL" && reply.retry.has_retry_delay();
        if (!(reply.status.ok() ? whole : refused)) ++wrong;
      });
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GE(tally[grpc::OK], 1024 / 64);
  EXPECT_EQ(tally[grpc::OK] + tally[grpc::UNAVAILABLE], kRequests);
  const std::string page = server.Get("/metrics").text;
  EXPECT_EQ(MetricValue(page, Requests("OK")), tally[grpc::OK]);
  EXPECT_EQ(MetricValue(page, Requests("UNAVAILABLE")), tally[grpc::UNAVAILABLE]);
  EXPECT_TRUE(TestClient(server.grpc_port()).Classify(Pictures(1, 32)).status.ok());
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(ServerTest, RefusesABadConfigurationWithOneLine) {
  WriteTinyModel(folder_.path() / "tiny.safetensors");
  const std::filesystem::path file = folder_.path() / "bad.yaml";
  std::ofstream(file) << BaseConfig() << "max_batch: 8\n";
  ExpectRefusesToStart({"--config", file}, "bad.yaml:7");
  std::ofstream(file) << BaseConfig();
  ExpectRefusesToStart({"--config", file, "--set", "models.0.weights=none.pth"}, "none.pth");
  ExpectRefusesToStart({"--config", file, "--set", "auth.tokens_file=tokens"}, "auth.tokens_file");
  ExpectRefusesToStart({"--config", file, "--set", "device=[cuda:99]"}, "cuda:99 cannot be used");
  ExpectRefusesToStart({"--config", folder_.path() / "nowhere.yaml"}, "nowhere.yaml");
}

TEST_F(ServerTest, RefusesAnAddressInUse) {
  RunningServer first(folder_.path());
  ASSERT_TRUE(first.ready()) << first.Log();
  const ScratchFolder other;
  WriteTinyModel(other.path() / "tiny.safetensors");
  const std::filesystem::path file = other.path() / "config.yaml";
  std::ofstream(file) << BaseConfig();
  const auto address = [](int port) { return "127.0.0.1:" + std::to_string(port); };
  ExpectRefusesToStart({"--config", file, "--set", "listen=" + address(first.grpc_port())},
                       "listen: cannot listen on " + address(first.grpc_port()));
  ExpectRefusesToStart({"--config", file, "--set", "admin=" + address(first.admin_port())},
                       "admin: cannot listen on " + address(first.admin_port()));
}

TEST_F(ServerTest, CheckConfigPrintsWhatIsInEffect) {
  const std::filesystem::path file = folder_.path() / "config.yaml";
  std::ofstream(file) << BaseConfig();
  ServerProcess server(folder_.path(), {"--config", file, "--check-config", "--set",
                                        "batching.max_batch_size=5", "--set", "drain.delay=3s"});
  EXPECT_EQ(server.Wait(), 0) << server.Log();
  EXPECT_THAT(server.Output(), HasSubstr("max_batch_size: 5"));
  EXPECT_THAT(server.Output(), HasSubstr("delay: 3s"));
}

// What reflection answers to "list the services"; its status is UNIMPLEMENTED where there is none.
grpc::Status ListServices(int port, std::string& answer) {
  const TestClient client(port);
  grpc::GenericStub stub(client.channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  const grpc::Slice question(std::string("\x3a\x00", 2));
  const grpc::ByteBuffer request(&question, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> status;
  stub.UnaryCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", {},
                 &request, &response, [&](grpc::Status result) { status.set_value(result); });
  const grpc::Status result = status.get_future().get();
  std::vector<grpc::Slice> slices;
  if (result.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      answer.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
  }
  return result;
}

TEST_F(ServerTest, ReflectionIsThereWhenItIsOn) {
  RunningServer server(folder_.path());
  ASSERT_TRUE(server.ready()) << server.Log();
  std::string services;
  const grpc::Status status = ListServices(server.grpc_port(), services);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(services, HasSubstr("spatialmamba.v1.VisionService"));
  EXPECT_THAT(services, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(ServerTest, ReflectionIsNotThereWhenItIsOff) {
  RunningServer server(folder_.path(), "grpc: {reflection: false}\n");
  ASSERT_TRUE(server.ready()) << server.Log();
  std::string services;
  EXPECT_EQ(ListServices(server.grpc_port(), services).error_code(), grpc::UNIMPLEMENTED);
}

TEST_F(ServerTest, TellsItsVersion) {
  ServerProcess server(folder_.path(), {"--version"});
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_THAT(server.Output(), StartsWith("0."));
}

}  // namespace
}  // namespace spatialmamba
