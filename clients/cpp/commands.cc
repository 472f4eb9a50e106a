#include "clients/cpp/commands.h"

#include <string>

#include "clients/cpp/table.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "spatialmamba/v1/vision.grpc.pb.h"

namespace spatialmamba {
namespace {

std::string TaskName(v1::Task task) {
  switch (task) {
    case v1::TASK_CLASSIFY:
      return "classify";
    case v1::TASK_DETECT:
      return "detect";
    case v1::TASK_SEGMENT:
      return "segment";
    default:
      return std::to_string(static_cast<int>(task));
  }
}

}  // namespace

void SetDeadline(const Server& server, grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + server.deadline);
}

ExitCode Report(const CallError& error, const Output& output) {
  output.err << "spatial-mamba-cli: " << Render(error) << "\n";
  return error.unreachable ? kUnreachable : kSomeFailed;
}

ExitCode Health(const Server& server, const std::string& service, const Output& output) {
  grpc::ClientContext context;
  SetDeadline(server, context);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const auto stub = grpc::health::v1::Health::NewStub(server.channel);
  if (const grpc::Status status = stub->Check(&context, request, &response); !status.ok()) {
    return Report(DescribeFailure(status, server.target), output);
  }
  using grpc::health::v1::HealthCheckResponse;
  output.out << HealthCheckResponse::ServingStatus_Name(response.status()) << "\n";
  return response.status() == HealthCheckResponse::SERVING ? kOk : kSomeFailed;
}

ExitCode Models(const Server& server, const Output& output) {
  grpc::ClientContext context;
  SetDeadline(server, context);
  v1::ListModelsResponse response;
  const auto stub = v1::VisionService::NewStub(server.channel);
  if (const grpc::Status status = stub->ListModels(&context, {}, &response); !status.ok()) {
    return Report(DescribeFailure(status, server.target), output);
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::Model& model : response.models()) {
    rows.push_back({model.name(), model.version(), TaskName(model.task()), model.variant(),
                    std::to_string(model.classes_size()), model.precision(), model.device(),
                    model.ready() ? "yes" : "no"});
  }
  output.out << FormatTable({{"name"},
                             {"version"},
                             {"task"},
                             {"variant"},
                             {"classes", Align::kRight},
                             {"precision"},
                             {"device"},
                             {"ready"}},
                            rows);
  return kOk;
}

}  // namespace spatialmamba
