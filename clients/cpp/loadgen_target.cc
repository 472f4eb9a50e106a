#include "clients/cpp/loadgen_target.h"

#include <absl/strings/str_cat.h>

#include <utility>

#include "clients/cpp/call_error.h"
#include "clients/cpp/channel.h"
#include "clients/cpp/duration.h"
#include "clients/cpp/loadgen_images.h"
#include "spatialmamba/v1/vision.grpc.pb.h"

namespace spatialmamba::loadgen {
namespace {

template <typename Request>
grpc::Slice Head(const MixEntry& entry) {
  Request request;
  request.mutable_model()->set_name(entry.model);
  request.mutable_model()->set_version(entry.version);
  return grpc::Slice(request.SerializeAsString());
}

// Consumes the image: only its bytes on the wire stay.
template <typename Request>
grpc::Slice OneImage(v1::Image&& image) {
  Request request;
  *request.add_images() = std::move(image);
  return grpc::Slice(request.SerializeAsString());
}

template <typename Request, typename Response, typename Method>
absl::Status ProbeWith(Method method, v1::VisionService::Stub& stub, const Target& target,
                       size_t entry, std::chrono::milliseconds patience) {
  Request request;
  grpc::ByteBuffer bytes = target.Request(entry, 0, 1);
  Response response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + patience);
  grpc::Status status = grpc::SerializationTraits<Request>::Deserialize(&bytes, &request);
  if (status.ok()) {
    status = (stub.*method)(&context, request, &response);
  }
  if (!status.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("a first request of \"", target.mix()[entry].name,
                     "\" failed: ", Render(DescribeFailure(status, target.server()))));
  }
  if (response.results_size() != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("the server answered one image with ", response.results_size(), " results"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Target>> Target::Prepare(std::vector<MixEntry> mix,
                                                        const TargetOptions& options) {
  std::unique_ptr<Target> target(new Target(std::move(mix), options));
  if (absl::Status status = target->LoadRequests(); !status.ok()) {
    return status;
  }
  if (absl::Status status = target->OpenConnections(); !status.ok()) {
    return status;
  }
  return target;
}

absl::Status Target::LoadRequests() {
  for (const MixEntry& entry : mix_) {
    auto images = LoadImages(entry.images);
    if (!images.ok()) {
      return images.status();
    }
    Prepared prepared;
    const auto fill = [&]<typename Request>(const char* method, Request) {
      prepared.method = absl::StrCat("/spatialmamba.v1.VisionService/", method);
      prepared.head = Head<Request>(entry);
      for (v1::Image& image : *images) {
        prepared.images.push_back(OneImage<Request>(std::move(image)));
      }
    };
    switch (entry.task) {
      case TaskKind::kClassify:
        fill("Classify", v1::ClassifyRequest());
        break;
      case TaskKind::kDetect:
        fill("Detect", v1::DetectRequest());
        break;
      case TaskKind::kSegment:
        fill("Segment", v1::SegmentRequest());
        break;
    }
    requests_.push_back(std::move(prepared));
  }
  return absl::OkStatus();
}

absl::Status Target::OpenConnections() {
  const size_t count =
      options_.connections > 0 ? static_cast<size_t>(options_.connections) : mix_.size();
  const auto until = std::chrono::system_clock::now() + options_.patience;
  for (size_t i = 0; i < count; ++i) {
    const auto& channel = channels_.emplace_back(ConnectWithoutRetries(options_.server));
    if (!channel->WaitForConnected(until)) {
      return absl::UnavailableError(absl::StrCat("cannot reach a server at ", options_.server,
                                                 " within ", FormatSeconds(options_.patience),
                                                 "; is it running?"));
    }
    stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
  }
  return absl::OkStatus();
}

grpc::ByteBuffer Target::Request(size_t entry, uint64_t pick, int64_t images) const {
  const Prepared& prepared = requests_[entry];
  std::vector<grpc::Slice> slices = {prepared.head};
  for (uint64_t i = 0; i < static_cast<uint64_t>(images); ++i) {
    // The remainder first: `pick` may be close to the largest number.
    slices.push_back(prepared.images[(pick % prepared.images.size() + i) % prepared.images.size()]);
  }
  return {slices.data(), slices.size()};
}

grpc::GenericStub& Target::NextStub(size_t entry) {
  return *stubs_[options_.connections > 0 ? turn_.fetch_add(1) % stubs_.size() : entry];
}

absl::Status Target::Probe() {
  v1::VisionService::Stub stub(channels_[0]);
  using Stub = v1::VisionService::Stub;
  for (size_t i = 0; i < mix_.size(); ++i) {
    absl::Status status;
    switch (mix_[i].task) {
      case TaskKind::kClassify:
        status = ProbeWith<v1::ClassifyRequest, v1::ClassifyResponse>(&Stub::Classify, stub, *this,
                                                                      i, options_.patience);
        break;
      case TaskKind::kDetect:
        status = ProbeWith<v1::DetectRequest, v1::DetectResponse>(&Stub::Detect, stub, *this, i,
                                                                  options_.patience);
        break;
      case TaskKind::kSegment:
        status = ProbeWith<v1::SegmentRequest, v1::SegmentResponse>(&Stub::Segment, stub, *this, i,
                                                                    options_.patience);
        break;
    }
    if (!status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

v1::ListModelsResponse Target::ListModels() {
  v1::VisionService::Stub stub(channels_[0]);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options_.patience);
  v1::ListModelsResponse response;
  if (!stub.ListModels(&context, {}, &response).ok()) {
    response.Clear();
  }
  return response;
}

}  // namespace spatialmamba::loadgen
