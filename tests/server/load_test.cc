// Many calls at a time, and the ends of calls that nobody plans: deadlines, cancellation, a full
// queue, a drain. What is waited for is waited for by watching the server, not by time.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/running_app.h"

namespace spatialmamba {
namespace {

constexpr const char* kInFlight = "spatialmamba_requests_in_flight{method=\"Classify\"}";
constexpr const char* kImagesRun = "spatialmamba_images_total{model=\"tiny\"}";

std::string Requests(const std::string& code) {
  return "spatialmamba_requests_total{code=\"" + code + "\",method=\"Classify\",model=\"tiny\"}";
}

std::string Dropped(const std::string& reason) {
  return "spatialmamba_dropped_total{model=\"tiny\",reason=\"" + reason + "\"}";
}

v1::ClassifyRequest Pictures(int count, int side) {
  v1::ClassifyRequest request;
  for (int i = 0; i < count; ++i) AddRaw(i, side, side, request);
  return request;
}

class LoadTest : public RunningApp {
 protected:
  // Sends the request on that many threads at a time and waits for all replies.
  std::vector<Reply> CallTogether(const v1::ClassifyRequest& request, int calls) {
    std::vector<Reply> replies(static_cast<size_t>(calls));
    std::vector<std::jthread> callers;
    for (Reply& reply : replies) {
      callers.emplace_back([&] { reply = client_->Classify(request); });
    }
    callers.clear();
    return replies;
  }
};

TEST_F(LoadTest, CallsTogetherAnswerBitForBitAsCallsAlone) {
  Start("batching: {max_batch_size: 4}\n");
  std::vector<v1::ClassifyRequest> requests(12);
  std::vector<std::string> alone;
  for (int i = 0; i < 12; ++i) {
    AddRaw(i, 24 + 9 * i, 120 - 8 * i, requests[static_cast<size_t>(i)]);
    requests[static_cast<size_t>(i)].set_top_k(10);
    requests[static_cast<size_t>(i)].set_include_logits(true);
    const Reply reply = client_->Classify(requests[static_cast<size_t>(i)]);
    ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
    alone.push_back(reply.response.SerializeAsString());
  }
  std::vector<std::string> together(requests.size());
  {
    std::vector<std::jthread> callers;
    for (size_t i = 0; i < requests.size(); ++i) {
      callers.emplace_back([&, i] {
        for (int round = 0; round < 3; ++round) {
          together[i] = client_->Classify(requests[i]).response.SerializeAsString();
          if (together[i] != alone[i]) return;
        }
      });
    }
  }
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(together[i], alone[i]) << i;
}

TEST_F(LoadTest, ADeadlineOfAMillisecondEndsTheCallAndTheServerGoesOn) {
  Start();
  const v1::ClassifyRequest request = Pictures(4, 200);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(client_->Classify(request, std::chrono::milliseconds(1)).status.error_code(),
              grpc::DEADLINE_EXCEEDED);
  }
  EXPECT_TRUE(Eventually([&] { return Metric(kInFlight) == 0; }));
  EXPECT_EQ(Metric(Requests("CANCELLED")), 0);
  EXPECT_TRUE(client_->Classify(request).status.ok());
}

TEST_F(LoadTest, ADeadlineTooShortForAnIdleDeviceIsRefusedWithoutARetryHint) {
  TinyModel model;  // a large input from a small message
  model.metadata["preprocess"] = R"({"resize_short": 2048, "crop": 2048})";
  Start("batching: {max_batch_size: 1}\n", model);
  const Reply reply = client_->Classify(Pictures(1, 32), std::chrono::milliseconds(100));
  EXPECT_EQ(reply.status.error_code(), grpc::DEADLINE_EXCEEDED);
  EXPECT_FALSE(reply.retry.has_retry_delay());
  EXPECT_EQ(reply.trailers.count("grpc-retry-pushback-ms"), 0);
  EXPECT_TRUE(Eventually([&] { return Metric(Requests("DEADLINE_EXCEEDED")) == 1; }));
  EXPECT_TRUE(Eventually([&] { return Metric(Dropped("deadline")) == 1; }));
  EXPECT_EQ(Metric(kImagesRun), 0);
}

TEST_F(LoadTest, ACancelledCallIsCountedAndWhatWaitsOfItNeverRuns) {
  Start("batching: {max_batch_size: 1}\n");
  const v1::ClassifyRequest request = Pictures(48, 300);
  grpc::ClientContext context;
  Reply reply;
  std::jthread caller([&] { reply = client_->Classify(request, context); });
  ASSERT_TRUE(Eventually([&] { return Metric(kInFlight) == 1; }));
  context.TryCancel();
  caller.join();
  EXPECT_EQ(reply.status.error_code(), grpc::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return Metric(Requests("CANCELLED")) == 1; }));
  // Every image is either run or counted as dropped.
  EXPECT_TRUE(Eventually([&] { return Metric(Dropped("cancelled")) + Metric(kImagesRun) == 48; }));
  EXPECT_GT(Metric(Dropped("cancelled")), 0);
  EXPECT_GT(Metric("spatialmamba_saved_device_seconds_total{model=\"tiny\"}"), 0);
  EXPECT_EQ(Metric(kInFlight), 0);
  EXPECT_TRUE(client_->Classify(Pictures(1, 32)).status.ok());
}

TEST_F(LoadTest, AFullQueueRefusesWholeRequestsWithTheTimeToRetryAfter) {
  Start("batching: {max_batch_size: 1, max_queue: 8}\n");
  const std::vector<Reply> replies = CallTogether(Pictures(8, 300), 12);
  int answered = 0;
  int refused = 0;
  for (const Reply& reply : replies) {
    if (reply.status.ok()) {
      ++answered;
      EXPECT_EQ(reply.response.results_size(), 8);
      continue;
    }
    ++refused;
    EXPECT_EQ(reply.status.error_code(), grpc::UNAVAILABLE);
    EXPECT_EQ(reply.error.reason(), "QUEUE_FULL");
    EXPECT_TRUE(reply.retry.has_retry_delay());
    ASSERT_EQ(reply.trailers.count("grpc-retry-pushback-ms"), 1);
    EXPECT_GT(std::stoi(reply.trailers.find("grpc-retry-pushback-ms")->second), 0);
  }
  EXPECT_GT(answered, 0);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(Metric(Requests("OK")), answered);
  EXPECT_EQ(Metric(Requests("UNAVAILABLE")), refused);
  EXPECT_EQ(Metric(Dropped("queue_full")), 8 * refused);
  // A batch is counted when its device is free again, which may be just after the answer.
  EXPECT_TRUE(Eventually([&] { return Metric(kImagesRun) == 8 * answered; })) << answered;
}

TEST_F(LoadTest, ADrainFinishesWhatWasAccepted) {
  Start("batching: {max_batch_size: 2}\ndrain: {timeout: 10m}\n");
  const v1::ClassifyRequest request = Pictures(16, 200);
  std::vector<Reply> replies(6);
  std::vector<std::jthread> callers;
  for (Reply& reply : replies) {
    callers.emplace_back([&] { reply = client_->Classify(request); });
  }
  ASSERT_TRUE(Eventually([&] { return Metric(kInFlight) > 0 || Metric(Requests("OK")) > 0; }));
  app_->Drain();
  callers.clear();
  int answered = 0;
  for (const Reply& reply : replies) {
    if (reply.status.ok()) {
      ++answered;
      EXPECT_EQ(reply.response.results_size(), 16);
    } else {  // came when the drain had begun
      EXPECT_EQ(reply.status.error_code(), grpc::UNAVAILABLE) << reply.status.error_message();
    }
  }
  EXPECT_GT(answered, 0);
  EXPECT_EQ(Metric(Requests("OK")), answered);
  EXPECT_TRUE(Eventually([&] { return Metric(kImagesRun) == 16 * answered; })) << answered;
  EXPECT_EQ(Metric("spatialmamba_health_state{state=\"draining\"}"), 1);
  EXPECT_EQ(client_->Classify(Pictures(1, 32), std::chrono::seconds(1)).status.error_code(),
            grpc::UNAVAILABLE);
}

TEST_F(LoadTest, ADrainThatTakesTooLongFailsWhatIsLeft) {
  Start("batching: {max_batch_size: 1}\ndrain: {timeout: 0s}\n");
  const v1::ClassifyRequest request = Pictures(48, 300);
  Reply reply;
  std::jthread caller([&] { reply = client_->Classify(request); });
  ASSERT_TRUE(Eventually([&] { return Metric(kInFlight) == 1; }));
  app_->Drain();
  caller.join();
  EXPECT_EQ(reply.status.error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(reply.error.reason(), "DRAINING");
  EXPECT_TRUE(reply.retry.has_retry_delay());
  EXPECT_EQ(Metric(Requests("UNAVAILABLE")), 1);
}

TEST_F(LoadTest, AServerThatIsDestroyedAnswersWhatIsInFlight) {
  Start("batching: {max_batch_size: 1}\n");
  const v1::ClassifyRequest request = Pictures(48, 300);
  Reply reply;
  std::jthread caller([&] { reply = client_->Classify(request); });
  ASSERT_TRUE(Eventually([&] { return Metric(kInFlight) == 1; }));
  app_.reset();
  caller.join();
  EXPECT_EQ(reply.status.error_code(), grpc::UNAVAILABLE);
}

TEST_F(LoadTest, EveryCallIsCountedOnceUnderItsCode) {
  Start("batching: {max_queue: 24}\n");
  std::atomic<int> ok = 0;
  std::atomic<int> invalid = 0;
  std::atomic<int> unavailable = 0;
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 8; ++i) {
      callers.emplace_back([&, i] {
        for (int call = 0; call < 20; ++call) {
          v1::ClassifyRequest request = Pictures(1 + (i + call) % 4, 40);
          if (call % 5 == 0) request.set_top_k(0);
          const Reply reply = client_->Classify(request);
          if (reply.status.ok()) ++ok;
          if (reply.status.error_code() == grpc::INVALID_ARGUMENT) ++invalid;
          if (reply.status.error_code() == grpc::UNAVAILABLE) ++unavailable;
        }
      });
    }
  }
  EXPECT_EQ(ok + invalid + unavailable, 160);
  EXPECT_EQ(invalid, 32);
  EXPECT_EQ(Metric(Requests("OK")), ok);
  EXPECT_EQ(Metric(Requests("INVALID_ARGUMENT")), invalid);
  EXPECT_EQ(Metric(Requests("UNAVAILABLE")), unavailable);
  EXPECT_EQ(Metric(kInFlight), 0);
}

}  // namespace
}  // namespace spatialmamba
