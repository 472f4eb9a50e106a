#include "server/status.h"

#include <chrono>
#include <set>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "model/image/decode.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(Status, ReasonsAreUniqueAndInTheirOwnOrder) {
  const std::vector<std::string> names = ErrorReasonNames();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  EXPECT_EQ(names.front(), Name(ErrorReason::kImageMissing));
  EXPECT_EQ(names.back(), Name(ErrorReason::kInternal));
  EXPECT_EQ(Name(ErrorReason::kQueueFull), "QUEUE_FULL");
  EXPECT_EQ(Code(ErrorReason::kModelNotFound), grpc::NOT_FOUND);
}

TEST(Status, DetailsCarryReasonFieldFactsAndRetryDelay) {
  ServiceError error = LimitError(ErrorReason::kQueueFull, 8, 9, "full");
  error.field = "images";
  error.retry_after = std::chrono::milliseconds(1500);
  const grpc::Status status = ToGrpcStatus(error);
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
  const google::rpc::Status details = Details(status);
  EXPECT_EQ(details.code(), grpc::UNAVAILABLE);
  EXPECT_EQ(details.message(), "full");
  ASSERT_EQ(details.details_size(), 3);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "spatialmamba");
  EXPECT_EQ(info.metadata().at("limit"), "8");
  EXPECT_EQ(info.metadata().at("value"), "9");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.details(2).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  ASSERT_EQ(Trailers(error).size(), 1);
  EXPECT_EQ(Trailers(error)[0].first, "grpc-retry-pushback-ms");
  EXPECT_EQ(Trailers(error)[0].second, "1500");
}

TEST(Status, NoRetryHintWhereRetryingIsPointless) {
  const Refusal refusal{.reason = RefusalReason::kDeadline, .message = "too short"};
  const ServiceError error = FromRefusal(refusal);
  EXPECT_EQ(Code(error.reason), grpc::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Trailers(error).empty());
  EXPECT_EQ(Details(ToGrpcStatus(error)).details_size(), 1);
}

TEST(Status, LongMessagesAreCutSoThatTheDetailsArrive) {
  std::string text(1499, 'a');
  for (int i = 0; i < 5000; ++i) text += "\xC3\xA9";
  const grpc::Status status = ToGrpcStatus({.message = text, .field = "images[0]"});
  EXPECT_LT(status.error_details().size() + status.error_message().size(), 8000);
  EXPECT_EQ(Details(status).message(), status.error_message());
}

TEST(Status, InternalErrorsShowNothingOfTheInside) {
  const ServiceError error =
      FromException(std::make_exception_ptr(std::runtime_error("at 0x7fff in secret.cc")));
  EXPECT_EQ(Code(error.reason), grpc::INTERNAL);
  EXPECT_THAT(error.message, Not(HasSubstr("secret")));
  EXPECT_EQ(FromException(std::make_exception_ptr(42)).reason, ErrorReason::kInternal);
}

TEST(Status, PictureErrorsAreTheCallersWithTheirFacts) {
  const ServiceError error = FromException(std::make_exception_ptr(ImageError(10, 20, "too big")));
  EXPECT_EQ(error.reason, ErrorReason::kImageTooLarge);
  EXPECT_EQ(error.metadata.at("limit"), "10");
  EXPECT_EQ(error.metadata.at("value"), "20");
  const ServiceError corrupt = FromException(
      std::make_exception_ptr(ImageError(ImageError::Reason::kCorrupt, "ends early")));
  EXPECT_EQ(Name(corrupt.reason), "IMAGE_DECODE_FAILED");
  EXPECT_EQ(corrupt.message, "ends early");
}

}  // namespace
}  // namespace spatialmamba
