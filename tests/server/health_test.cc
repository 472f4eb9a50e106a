#include "server/health.h"

#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "tests/server/running_app.h"

namespace spatialmamba {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class HealthTest : public RunningApp {
 protected:
  HealthCheckResponse::ServingStatus Check(const std::string& service) {
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        Health::NewStub(client_->channel())->Check(&context, request, &response);
    if (status.error_code() == grpc::NOT_FOUND) return HealthCheckResponse::SERVICE_UNKNOWN;
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.status();
  }
};

TEST_F(HealthTest, ServesTheTasksOfItsModels) {
  Start();
  EXPECT_EQ(Check(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check("liveness"), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check("classify"), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check("detect"), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Check("segment"), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Check("unheard"), HealthCheckResponse::SERVICE_UNKNOWN);
}

TEST_F(HealthTest, ADrainIsTakenForUnreadyButAliveAndEndsWatches) {
  Start("drain: {delay: 3s}\n");
  const auto stub = Health::NewStub(client_->channel());
  grpc::ClientContext context;
  const auto watch = stub->Watch(&context, HealthCheckRequest());
  grpc::ClientContext unknown_context;
  HealthCheckRequest unknown;
  unknown.set_service("unheard");
  const auto unknown_watch = stub->Watch(&unknown_context, unknown);
  HealthCheckResponse state;
  ASSERT_TRUE(unknown_watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::SERVING);

  std::jthread drain([&] { app_->Drain(); });
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::NOT_SERVING);
  // Within the delay: requests are still answered.
  EXPECT_EQ(Check("liveness"), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check("classify"), HealthCheckResponse::NOT_SERVING);
  v1::ClassifyRequest request;
  AddRaw(1, 32, 32, request);
  EXPECT_TRUE(client_->Classify(request).status.ok());
  EXPECT_FALSE(watch->Read(&state));
  EXPECT_FALSE(unknown_watch->Read(&state));
  EXPECT_EQ(watch->Finish().error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(unknown_watch->Finish().error_code(), grpc::UNAVAILABLE);
}

}  // namespace
}  // namespace spatialmamba
