#include "tests/server/client.h"

#include <cstdlib>
#include <utility>

#include "google/rpc/status.pb.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

void ReadTrailers(const grpc::ClientContext& context, CallOutcome& reply) {
  for (const auto& [key, value] : context.GetServerTrailingMetadata()) {
    reply.trailers.emplace(std::string(key.data(), key.size()),
                           std::string(value.data(), value.size()));
  }
  ReadDetails(reply);
}

void SetLongDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
}

}  // namespace

TestClient::TestClient(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  arguments.SetMaxReceiveMessageSize(-1);
  channel_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                       grpc::InsecureChannelCredentials(), arguments);
  stub_ = v1::VisionService::NewStub(channel_);
}

Reply TestClient::Classify(const v1::ClassifyRequest& request,
                           std::chrono::milliseconds timeout) const {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  return Classify(request, context);
}

Reply TestClient::Classify(const v1::ClassifyRequest& request, grpc::ClientContext& context) const {
  Reply reply;
  reply.status = stub_->Classify(&context, request, &reply.response);
  ReadTrailers(context, reply);
  return reply;
}

ReplyOf<v1::DetectResponse> TestClient::Detect(const v1::DetectRequest& request) const {
  grpc::ClientContext context;
  SetLongDeadline(context);
  ReplyOf<v1::DetectResponse> reply;
  reply.status = stub_->Detect(&context, request, &reply.response);
  ReadTrailers(context, reply);
  return reply;
}

ReplyOf<v1::SegmentResponse> TestClient::Segment(const v1::SegmentRequest& request) const {
  grpc::ClientContext context;
  SetLongDeadline(context);
  ReplyOf<v1::SegmentResponse> reply;
  reply.status = stub_->Segment(&context, request, &reply.response);
  ReadTrailers(context, reply);
  return reply;
}

void ReadDetails(CallOutcome& reply) {
  google::rpc::Status details;
  if (!details.ParseFromString(reply.status.error_details())) return;
  for (const google::protobuf::Any& detail : details.details()) {
    detail.UnpackTo(&reply.error);
    detail.UnpackTo(&reply.bad_request);
    detail.UnpackTo(&reply.retry);
  }
}

v1::RawImage RandomPicture(int64_t seed, int height, int width) {
  const std::vector<uint8_t> pixels = oracle::Image(seed, height, width);
  v1::RawImage raw;
  raw.set_height(height);
  raw.set_width(width);
  raw.set_format(v1::PIXEL_FORMAT_RGB);
  raw.set_pixels(pixels.data(), pixels.size());
  return raw;
}

v1::RawImage PlainPicture(int height, int width, char grey) {
  v1::RawImage raw;
  raw.set_height(height);
  raw.set_width(width);
  raw.set_format(v1::PIXEL_FORMAT_GREY);
  raw.set_pixels(std::string(static_cast<size_t>(height) * static_cast<size_t>(width), grey));
  return raw;
}

void AddEncoded(std::string file, v1::ClassifyRequest& request) {
  request.add_images()->set_encoded(std::move(file));
}

double MetricValue(std::string_view page, const std::string& series) {
  const std::string start = "\n" + series + " ";
  const size_t at = page.find(start);
  if (at == std::string_view::npos) return -1;
  return std::atof(std::string(page.substr(at + start.size(), 40)).c_str());
}

}  // namespace spatialmamba
