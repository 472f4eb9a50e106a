#include "tests/server/client.h"

#include <cstdlib>
#include <utility>

#include "google/rpc/status.pb.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {

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
  for (const auto& [key, value] : context.GetServerTrailingMetadata()) {
    reply.trailers.emplace(std::string(key.data(), key.size()),
                           std::string(value.data(), value.size()));
  }
  ReadDetails(reply);
  return reply;
}

void ReadDetails(Reply& reply) {
  google::rpc::Status details;
  if (!details.ParseFromString(reply.status.error_details())) return;
  for (const google::protobuf::Any& detail : details.details()) {
    detail.UnpackTo(&reply.error);
    detail.UnpackTo(&reply.bad_request);
    detail.UnpackTo(&reply.retry);
  }
}

void AddRaw(int64_t seed, int height, int width, v1::ClassifyRequest& request) {
  const std::vector<uint8_t> pixels = oracle::Image(seed, height, width);
  v1::RawImage& raw = *request.add_images()->mutable_raw();
  raw.set_height(height);
  raw.set_width(width);
  raw.set_format(v1::PIXEL_FORMAT_RGB);
  raw.set_pixels(pixels.data(), pixels.size());
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
