#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "spatialmamba/v1/vision.grpc.pb.h"

namespace spatialmamba {

// What a caller sees of a call besides the response.
struct CallOutcome {
  grpc::Status status;
  std::multimap<std::string, std::string> trailers;
  google::rpc::ErrorInfo error;  // details, empty if there are none
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
};
template <typename Response>
struct ReplyOf : CallOutcome {
  Response response;
};
using Reply = ReplyOf<v1::ClassifyResponse>;

// A client that never tries again by itself.
class TestClient {
 public:
  explicit TestClient(int port);

  Reply Classify(const v1::ClassifyRequest& request,
                 std::chrono::milliseconds timeout = std::chrono::minutes(2)) const;
  // As above with a context of the caller's, which it may cancel.
  Reply Classify(const v1::ClassifyRequest& request, grpc::ClientContext& context) const;

  ReplyOf<v1::DetectResponse> Detect(const v1::DetectRequest& request) const;
  ReplyOf<v1::SegmentResponse> Segment(const v1::SegmentRequest& request) const;

  v1::VisionService::Stub& stub() const { return *stub_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::VisionService::Stub> stub_;
};

// Fills in what the status carries.
void ReadDetails(CallOutcome& reply);

// A picture of random pixels.
v1::RawImage RandomPicture(int64_t seed, int height, int width);
// A picture of one colour.
v1::RawImage PlainPicture(int height, int width, char grey);
template <typename Request>
void AddRaw(int64_t seed, int height, int width, Request& request) {
  *request.add_images()->mutable_raw() = RandomPicture(seed, height, width);
}
void AddEncoded(std::string file, v1::ClassifyRequest& request);

// The value of a series on a metrics page: "spatialmamba_batches_total{model=\"tiny\"}"; -1 if it
// is not there.
double MetricValue(std::string_view page, const std::string& series);

}  // namespace spatialmamba
