#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "clients/cpp/commands.h"
#include "clients/cpp/table.h"
#include "spatialmamba/v1/vision.grpc.pb.h"

namespace spatialmamba {

// What a server says of one picture, ready to be shown.
struct PictureAnswer {
  nlohmann::ordered_json fields;  // of the JSON output; the keys of the Python client's
  std::vector<std::vector<std::string>> rows;  // of the table
  std::optional<v1::Explanation> explanation;
  std::string drawn;      // an SVG file, if it was asked for
  std::string label_map;  // segmentation: the PNG file, with `drawn`
};

// One task's part of a command.
struct PictureTask {
  std::vector<Column> columns;  // of the rows
  // Sends the file and reads the answer. `draw`: the annotated picture is wanted. Throws a
  // std::exception, whose text says what, if the answer makes no sense.
  std::function<grpc::Status(v1::VisionService::Stub& stub, grpc::ClientContext& context,
                             const std::string& picture, bool draw, PictureAnswer& answer)>
      ask;
};

PictureTask ClassifyTask(const ClassifyOptions& options);
PictureTask DetectTask(const DetectOptions& options);
PictureTask SegmentTask(const SegmentOptions& options);

// Asks for each file, one after the other, and prints what became of it.
ExitCode AnswerPictures(const Server& server, const PictureOptions& options,
                        const PictureTask& task, const Output& output);

// The pieces that the tasks share.
std::string Fixed(double value);  // one digit after the point
void SetModelAndSize(const v1::ModelIdentity& model, const v1::ImageSize& size,
                     PictureAnswer& answer);
template <typename Request>
void SetTiling(const TilingOptions& options, Request& request) {
  if (!options.size) return;
  request.mutable_tiling()->set_tile_size(*options.size);
  if (options.overlap) request.mutable_tiling()->set_overlap(*options.overlap);
}
// The only result; throws std::runtime_error if there are none or several.
template <typename Response>
const auto& OnlyResult(const Response& response) {
  if (response.results_size() != 1) {
    throw std::runtime_error("the server answered one picture with " +
                             std::to_string(response.results_size()) + " results");
  }
  return response.results(0);
}

}  // namespace spatialmamba
