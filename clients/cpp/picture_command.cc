#include "clients/cpp/picture_command.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "clients/cpp/duration.h"

namespace spatialmamba {
namespace {

using Json = nlohmann::ordered_json;

// What became of one file.
struct Outcome {
  std::string file;
  double milliseconds = 0.0;  // the call as seen from here
  PictureAnswer answer;
  std::string local_error;  // the file could not be read, or the pictures not be written
  std::optional<CallError> call_error;

  bool ok() const { return local_error.empty() && !call_error; }
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

void WriteFile(const std::filesystem::path& path, const std::string& content, std::string& error) {
  errno = 0;
  std::ofstream stream(path, std::ios::binary);
  if (!(stream << content) || !stream.flush()) {
    error = path.string() + " cannot be written: " + std::generic_category().message(errno);
  }
}

// Names for annotated pictures: each file's own, numbered where two are the same.
class SavedNames {
 public:
  explicit SavedNames(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path Next(const std::string& file) {
    const std::string stem = std::filesystem::path(file).stem().string();
    std::string name = stem;
    for (int number = 2; !taken_.insert(name).second; ++number) {
      name = stem + "-" + std::to_string(number);
    }
    return folder_ / name;
  }

 private:
  const std::filesystem::path folder_;
  std::set<std::string> taken_;
};

void Save(const PictureAnswer& answer, const std::filesystem::path& stem, std::string& error) {
  WriteFile(stem.string() + ".svg", answer.drawn, error);
  if (!answer.label_map.empty() && error.empty()) {
    WriteFile(stem.string() + ".labels.png", answer.label_map, error);
  }
}

Outcome AnswerFile(const Server& server, v1::VisionService::Stub& stub, const PictureTask& task,
                   const std::string& file, bool draw) {
  Outcome outcome{.file = file};
  const std::string picture = ReadFile(file, outcome.local_error);
  if (!outcome.local_error.empty()) return outcome;
  grpc::ClientContext context;
  SetDeadline(server, context);
  const auto start = std::chrono::steady_clock::now();
  try {
    const grpc::Status status = task.ask(stub, context, picture, draw, outcome.answer);
    outcome.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    if (!status.ok()) outcome.call_error = DescribeFailure(status, server.target);
  } catch (const std::exception& error) {
    outcome.call_error = CallError{.code = grpc::StatusCode::INTERNAL, .message = error.what()};
  }
  return outcome;
}

Json ErrorAsJson(const Outcome& outcome) {
  if (!outcome.call_error) {
    return {{"code", "LOCAL"}, {"message", outcome.local_error}};
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
  return {{"prepare_wait", ToSeconds(explanation.prepare_wait())},
          {"decode", ToSeconds(explanation.decode())},
          {"preprocess", ToSeconds(explanation.preprocess())},
          {"queue", ToSeconds(explanation.queue())},
          {"inference", ToSeconds(explanation.inference())},
          {"postprocess", ToSeconds(explanation.postprocess())},
          {"predicted", ToSeconds(explanation.predicted())},
          {"batches_ahead", explanation.batches_ahead()},
          {"batch_size", explanation.batch_size()},
          {"batch_closed_by", explanation.batch_closed_by()},
          {"device", explanation.device()},
          {"tiles", explanation.tiles()},
          {"batches", explanation.batches()}};
}

Json AsJson(const Outcome& outcome) {
  Json json = {{"file", outcome.file}};
  if (!outcome.ok()) {
    json["error"] = ErrorAsJson(outcome);
    return json;
  }
  json["milliseconds"] = outcome.milliseconds;
  json.update(outcome.answer.fields);
  if (outcome.answer.explanation) {
    json["explanation"] = ExplanationAsJson(*outcome.answer.explanation);
  }
  return json;
}

std::vector<std::string> ExplanationCells(const v1::Explanation& explanation) {
  const auto milliseconds = [](const google::protobuf::Duration& duration) {
    return Fixed(1e3 * ToSeconds(duration));
  };
  return {milliseconds(explanation.prepare_wait()),
          milliseconds(explanation.decode()),
          milliseconds(explanation.preprocess()),
          milliseconds(explanation.queue()),
          milliseconds(explanation.inference()),
          milliseconds(explanation.postprocess()),
          milliseconds(explanation.predicted()),
          std::to_string(explanation.batches_ahead()),
          std::to_string(explanation.batch_size()),
          explanation.batch_closed_by(),
          explanation.device()};
}

void PrintTable(const std::vector<Outcome>& outcomes, const PictureTask& task, bool explain,
                std::ostream& out) {
  std::vector<Column> columns = {{"file"}};
  columns.insert(columns.end(), task.columns.begin(), task.columns.end());
  columns.push_back({"ms", Align::kRight});
  if (explain) {
    for (const char* stage : {"wait", "decode", "preprocess", "queue", "inference", "postprocess",
                              "predicted", "ahead", "batch"}) {
      columns.push_back({stage, Align::kRight});
    }
    columns.insert(columns.end(), {{"closed by"}, {"device"}});
  }
  std::vector<std::vector<std::string>> rows;
  for (const Outcome& outcome : outcomes) {
    bool first = true;
    for (const std::vector<std::string>& cells : outcome.answer.rows) {
      std::vector<std::string>& row = rows.emplace_back();
      row.push_back(first ? outcome.file : "");
      row.insert(row.end(), cells.begin(), cells.end());
      row.push_back(first ? Fixed(outcome.milliseconds) : "");
      if (first && explain && outcome.answer.explanation) {
        const std::vector<std::string> more = ExplanationCells(*outcome.answer.explanation);
        row.insert(row.end(), more.begin(), more.end());
      }
      row.resize(columns.size());
      first = false;
    }
  }
  out << FormatTable(columns, rows);
}

}  // namespace

std::string Fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

void SetModelAndSize(const v1::ModelIdentity& model, const v1::ImageSize& size,
                     PictureAnswer& answer) {
  answer.fields["image_size"] = {{"height", size.height()}, {"width", size.width()}};
  answer.fields["model"] = {{"name", model.name()},
                            {"version", model.version()},
                            {"weights_sha256", model.weights_sha256()}};
}

ExitCode AnswerPictures(const Server& server, const PictureOptions& options,
                        const PictureTask& task, const Output& output) {
  const bool draw = !options.save_dir.empty();
  if (draw) {
    std::error_code error;
    std::filesystem::create_directories(options.save_dir, error);
    if (error) {
      output.err << "spatial-mamba-cli: --save-dir " << options.save_dir
                 << " cannot be made: " << error.message() << "\n";
      return kUsage;
    }
  }
  const auto stub = v1::VisionService::NewStub(server.channel);
  SavedNames names(options.save_dir);
  std::vector<Outcome> answered;
  ExitCode exit_code = kOk;
  for (const std::string& file : options.files) {
    Outcome outcome = AnswerFile(server, *stub, task, file, draw);
    if (outcome.call_error && outcome.call_error->unreachable) {
      exit_code = Report(*outcome.call_error, output);
      break;  // the other files would fare no better
    }
    if (draw && outcome.ok()) Save(outcome.answer, names.Next(file), outcome.local_error);
    if (!outcome.ok()) exit_code = kSomeFailed;
    if (options.json) {
      output.out << AsJson(outcome).dump(-1, ' ', false, Json::error_handler_t::replace)
                 << std::endl;
    } else if (!outcome.ok()) {
      output.err << file << ": "
                 << (outcome.call_error ? Render(*outcome.call_error) : outcome.local_error)
                 << "\n";
    } else {
      answered.push_back(std::move(outcome));
    }
  }
  if (!answered.empty()) PrintTable(answered, task, options.explain, output.out);
  return exit_code;
}

}  // namespace spatialmamba
