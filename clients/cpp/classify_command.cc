#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <system_error>

#include "clients/cpp/commands.h"
#include "clients/cpp/duration.h"
#include "clients/cpp/table.h"
#include "spatialmamba/v1/vision.grpc.pb.h"

namespace spatialmamba {
namespace {

using Json = nlohmann::ordered_json;

// What became of one file.
struct Outcome {
  std::string file;
  double milliseconds = 0.0;  // the call as seen from here
  v1::ClassifyResponse response;
  std::string file_error;  // the file could not be read
  std::optional<CallError> call_error;

  bool ok() const { return file_error.empty() && !call_error; }
};

// The file's bytes, or nothing and why not in `error`.
std::string ReadFile(const std::string& file, std::string& error) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) {
    error = "this is a folder; name the pictures in it";
    return {};
  }
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  if (!stream || (stream.peek() != EOF && !(content << stream.rdbuf()))) {
    error = "cannot be read: " + std::generic_category().message(errno);
    return {};
  }
  return std::move(content).str();
}

Outcome ClassifyFile(const Server& server, v1::VisionService::Stub& stub,
                     const ClassifyOptions& options, const std::string& file) {
  Outcome outcome{.file = file};
  v1::ClassifyRequest request;
  request.add_images()->set_encoded(ReadFile(file, outcome.file_error));
  if (!outcome.file_error.empty()) {
    return outcome;
  }
  request.mutable_model()->set_name(options.model);
  request.set_top_k(options.top_k);
  request.set_explain(options.explain);
  grpc::ClientContext context;
  SetDeadline(server, context);
  const auto start = std::chrono::steady_clock::now();
  const grpc::Status status = stub.Classify(&context, request, &outcome.response);
  outcome.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (!status.ok()) {
    outcome.call_error = DescribeFailure(status, server.target);
  } else if (outcome.response.results_size() != 1) {
    outcome.call_error =
        CallError{.code = grpc::StatusCode::INTERNAL,
                  .message = "the server answered one picture with " +
                             std::to_string(outcome.response.results_size()) + " results"};
  }
  return outcome;
}

Json ErrorAsJson(const Outcome& outcome) {
  if (!outcome.call_error) {
    return {{"code", "LOCAL"}, {"message", outcome.file_error}};
  }
  const CallError& error = *outcome.call_error;
  Json json = {
      {"code", CodeName(error.code)}, {"message", error.message}, {"reason", error.reason}};
  json["retry_delay_seconds"] = nullptr;
  if (error.retry_delay) {
    json["retry_delay_seconds"] = 1e-3 * static_cast<double>(error.retry_delay->count());
  }
  json["field_violations"] = Json::array();
  for (const FieldViolation& violation : error.field_violations) {
    json["field_violations"].push_back(
        {{"field", violation.field}, {"description", violation.description}});
  }
  return json;
}

Json ExplanationAsJson(const v1::Explanation& explanation) {
  return {{"decode", ToSeconds(explanation.decode())},
          {"preprocess", ToSeconds(explanation.preprocess())},
          {"queue", ToSeconds(explanation.queue())},
          {"inference", ToSeconds(explanation.inference())},
          {"postprocess", ToSeconds(explanation.postprocess())},
          {"batch_size", explanation.batch_size()},
          {"batch_closed_by", explanation.batch_closed_by()},
          {"device", explanation.device()}};
}

// The same keys as those of the Python client's --json.
Json AsJson(const Outcome& outcome) {
  Json json = {{"file", outcome.file}};
  if (!outcome.ok()) {
    json["error"] = ErrorAsJson(outcome);
    return json;
  }
  json["milliseconds"] = outcome.milliseconds;
  const v1::Classification& result = outcome.response.results(0);
  json["classes"] = Json::array();
  for (const v1::Class& scored : result.classes()) {
    json["classes"].push_back({{"index", scored.index()},
                               {"name", scored.name()},
                               {"probability", scored.probability()}});
  }
  json["image_size"] = {{"height", result.image_size().height()},
                        {"width", result.image_size().width()}};
  const v1::ModelIdentity& model = outcome.response.model();
  json["model"] = {{"name", model.name()},
                   {"version", model.version()},
                   {"weights_sha256", model.weights_sha256()}};
  if (result.has_explanation()) {
    json["explanation"] = ExplanationAsJson(result.explanation());
  }
  return json;
}

std::string Fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::vector<std::string> ExplanationCells(const v1::Explanation& explanation) {
  const auto milliseconds = [](const google::protobuf::Duration& duration) {
    return Fixed(1e3 * ToSeconds(duration));
  };
  return {milliseconds(explanation.decode()),      milliseconds(explanation.preprocess()),
          milliseconds(explanation.queue()),       milliseconds(explanation.inference()),
          milliseconds(explanation.postprocess()), std::to_string(explanation.batch_size()),
          explanation.batch_closed_by(),           explanation.device()};
}

void PrintTable(const std::vector<Outcome>& outcomes, bool explain, std::ostream& out) {
  std::vector<Column> columns = {
      {"file"}, {"class"}, {"probability", Align::kRight}, {"ms", Align::kRight}};
  if (explain) {
    for (const char* stage :
         {"decode", "preprocess", "queue", "inference", "postprocess", "batch"}) {
      columns.push_back({stage, Align::kRight});
    }
    columns.insert(columns.end(), {{"closed by"}, {"device"}});
  }
  std::vector<std::vector<std::string>> rows;
  for (const Outcome& outcome : outcomes) {
    bool first = true;
    for (const v1::Class& scored : outcome.response.results(0).classes()) {
      std::vector<std::string>& row = rows.emplace_back();
      row = {first ? outcome.file : "", scored.name(), Fixed(100.0 * scored.probability()) + " %",
             first ? Fixed(outcome.milliseconds) : ""};
      if (first && explain) {
        const std::vector<std::string> cells =
            ExplanationCells(outcome.response.results(0).explanation());
        row.insert(row.end(), cells.begin(), cells.end());
      }
      row.resize(columns.size());
      first = false;
    }
  }
  out << FormatTable(columns, rows);
}

}  // namespace

ExitCode Classify(const Server& server, const ClassifyOptions& options, const Output& output) {
  const auto stub = v1::VisionService::NewStub(server.channel);
  std::vector<Outcome> answered;
  ExitCode exit_code = kOk;
  for (const std::string& file : options.files) {
    Outcome outcome = ClassifyFile(server, *stub, options, file);
    if (outcome.call_error && outcome.call_error->unreachable) {
      exit_code = Report(*outcome.call_error, output);
      break;  // the other files would fare no better
    }
    if (!outcome.ok()) {
      exit_code = kSomeFailed;
    }
    if (options.json) {
      output.out << AsJson(outcome).dump(-1, ' ', false, Json::error_handler_t::replace)
                 << std::endl;
    } else if (!outcome.ok()) {
      output.err << file << ": "
                 << (outcome.call_error ? Render(*outcome.call_error) : outcome.file_error) << "\n";
    } else {
      answered.push_back(std::move(outcome));
    }
  }
  if (!answered.empty()) {
    PrintTable(answered, options.explain, output.out);
  }
  return exit_code;
}

}  // namespace spatialmamba
