#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "clients/cpp/call_error.h"
#include "spatialmamba/v1/vision.pb.h"

namespace spatialmamba {

// What the program exits with; documented in its help.
enum ExitCode : int { kOk = 0, kSomeFailed = 1, kUsage = 2, kUnreachable = 3 };

// The server that is asked, and how long each call may take with its retries.
struct Server {
  std::string target;
  std::shared_ptr<grpc::Channel> channel;
  std::chrono::milliseconds deadline;
};

struct Output {
  std::ostream& out;
  std::ostream& err;
};

// Of the commands that ask about pictures.
struct PictureOptions {
  std::vector<std::string> files;
  std::string model;     // empty: the only one of the task that is loaded
  bool json = false;     // one object a line for each file
  bool explain = false;  // also where the time went
  std::string save_dir;  // where annotated pictures go; empty: none
};

struct ClassifyOptions {
  PictureOptions pictures;
  int32_t top_k = 5;
};

// How pictures are cut; without a size they are not.
struct TilingOptions {
  std::optional<int32_t> size;
  std::optional<int32_t> overlap;
};

// Nothing given: as the model has it.
struct DetectOptions {
  PictureOptions pictures;
  std::optional<float> score_threshold;
  std::optional<int32_t> max_results;
  std::vector<int32_t> classes;  // indices; empty: all
  v1::MaskEncoding masks = v1::MASK_ENCODING_UNSPECIFIED;
  TilingOptions tiling;
};

struct SegmentOptions {
  PictureOptions pictures;
  TilingOptions tiling;
};

// Each prints its answer to `out` or what went wrong to `err`.
ExitCode Health(const Server& server, const std::string& service, const Output& output);
ExitCode Models(const Server& server, const Output& output);

// The pieces that every command needs.
void SetDeadline(const Server& server, grpc::ClientContext& context);
ExitCode Report(const CallError& error, const Output& output);

}  // namespace spatialmamba
