#include "server/admin.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    AdminPages pages;
    pages.metrics = [this] {
      if (broken_) throw std::runtime_error("secret detail");
      return std::string("metric 1\n");
    };
    pages.not_ready = [this] {
      const std::lock_guard lock(mutex_);
      return reason_;
    };
    pages.version = R"({"version": "1.2.3"})";
    absl::StatusOr<std::unique_ptr<AdminServer>> server =
        AdminServer::Start({"127.0.0.1", 0}, pages);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  httplib::Client Client() const {
    httplib::Client client("127.0.0.1", server_->address().port);
    client.set_connection_timeout(10);
    client.set_read_timeout(10);
    return client;
  }
  void SetReason(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    reason_ = reason;
  }

  std::mutex mutex_;
  std::string reason_;  // guarded by mutex_
  std::atomic<bool> broken_ = false;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminTest, PortZeroTakesAFreePort) {
  EXPECT_GT(server_->address().port, 0);
  EXPECT_EQ(server_->address().host, "127.0.0.1");
}

TEST_F(AdminTest, ServesItsPages) {
  const auto metrics = Client().Get("/metrics");
  ASSERT_TRUE(metrics);
  EXPECT_EQ(metrics->status, 200);
  EXPECT_EQ(metrics->body, "metric 1\n");
  EXPECT_THAT(metrics->get_header_value("Content-Type"), HasSubstr("text/plain; version=0.0.4"));
  const auto version = Client().Get("/version");
  ASSERT_TRUE(version);
  EXPECT_EQ(version->body, R"({"version": "1.2.3"})");
  EXPECT_EQ(version->get_header_value("Content-Type"), "application/json");
  const auto live = Client().Get("/livez");
  ASSERT_TRUE(live);
  EXPECT_EQ(live->status, 200);
}

TEST_F(AdminTest, ReadinessFollowsTheServerAndSaysWhyNot) {
  auto ready = Client().Get("/readyz");
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->status, 200);
  SetReason("draining");
  ready = Client().Get("/readyz");
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->status, 503);
  EXPECT_EQ(ready->body, "not ready: draining\n");
  const auto live = Client().Get("/livez");
  ASSERT_TRUE(live);
  EXPECT_EQ(live->status, 200) << "not ready is not dead";
}

TEST_F(AdminTest, HeadHasHeadersAndNoBody) {
  const auto head = Client().Head("/metrics");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->get_header_value("Content-Length"), "9");
  EXPECT_EQ(head->body, "");
}

TEST_F(AdminTest, UnknownPathsAreNotFoundAndNameWhatThereIs) {
  const auto missing = Client().Get("/metrics/x");
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->status, 404);
  EXPECT_THAT(missing->body, HasSubstr("/readyz"));
  const auto posted = Client().Post("/other", "x", "text/plain");
  ASSERT_TRUE(posted);
  EXPECT_EQ(posted->status, 404);
}

TEST_F(AdminTest, OtherMethodsAreNotAllowed) {
  for (const auto& result :
       {Client().Post("/metrics", "x", "text/plain"), Client().Delete("/readyz")}) {
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 405);
    EXPECT_EQ(result->get_header_value("Allow"), "GET, HEAD");
  }
}

TEST_F(AdminTest, LargeRequestsAreRefusedAndTheServerGoesOn) {
  const auto posted = Client().Post("/livez", std::string(1 << 20, 'x'), "text/plain");
  EXPECT_TRUE(!posted || posted->status >= 400);
  const auto address = Client().Get("/" + std::string(20'000, 'x'));
  EXPECT_TRUE(!address || address->status >= 400);
  const auto live = Client().Get("/livez");
  ASSERT_TRUE(live);
  EXPECT_EQ(live->status, 200);
}

TEST_F(AdminTest, AFailingPageIsAnErrorWithoutInternals) {
  broken_ = true;
  const auto metrics = Client().Get("/metrics");
  ASSERT_TRUE(metrics);
  EXPECT_EQ(metrics->status, 500);
  EXPECT_THAT(metrics->body, ::testing::Not(HasSubstr("secret")));
  for (const auto& [key, value] : metrics->headers)
    EXPECT_THAT(value, ::testing::Not(HasSubstr("secret"))) << key;
}

TEST_F(AdminTest, AnswersManyAtATime) {
  std::atomic<int> answered = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) {
          const auto result = Client().Get("/readyz");
          if (result && result->status == 200) ++answered;
        }
      });
    }
  }
  EXPECT_EQ(answered, 160);
}

TEST_F(AdminTest, AnAddressInUseIsAnErrorThatNamesIt) {
  const Endpoint address = server_->address();
  const auto second = AdminServer::Start(address, {});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.status().ToString(), HasSubstr("cannot listen on " + address.ToString()));
  EXPECT_THAT(second.status().ToString(), HasSubstr("change admin"));
}

TEST_F(AdminTest, AForeignAddressIsAnError) {
  EXPECT_FALSE(AdminServer::Start({"192.0.2.1", 0}, {}).ok());
  EXPECT_FALSE(AdminServer::Start({"192.0.2.1", 8002}, {}).ok());
}

TEST_F(AdminTest, ThePortIsFreeAgainAfterwards) {
  const Endpoint address = server_->address();
  ASSERT_TRUE(Client().Get("/livez"));
  server_.reset();
  AdminPages pages;
  pages.version = "{}";
  const auto next = AdminServer::Start(address, pages);
  ASSERT_TRUE(next.ok()) << next.status();
  httplib::Client client("127.0.0.1", address.port);
  EXPECT_TRUE(client.Get("/version"));
}

// Stopping waits for the read timeout of a silent client at most; a server that waited for the
// client would hang here.
TEST_F(AdminTest, StopsWhileAClientHoldsASilentConnection) {
  const int silent = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server_->address().port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(silent, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_TRUE(Client().Get("/livez"));
  server_.reset();
  close(silent);
}

TEST(AdminServer, StartsAndStopsAtOnce) {
  for (int i = 0; i < 20; ++i) {
    AdminPages pages;
    ASSERT_TRUE(AdminServer::Start({"127.0.0.1", 0}, pages).ok());
  }
}

}  // namespace
}  // namespace spatialmamba
