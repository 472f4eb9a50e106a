#include "clients/cpp/cli.h"

#include <CLI/CLI.hpp>
#include <optional>

#include "clients/cpp/channel.h"
#include "clients/cpp/duration.h"

namespace spatialmamba {
namespace {

constexpr char kFooter[] =
    "Exit status:\n"
    "  0  all went well\n"
    "  1  some files failed, or the server is not serving\n"
    "  2  wrong usage\n"
    "  3  the server cannot be reached";

struct Arguments {
  std::string target = "localhost:8001";
  std::string deadline = "10s";
  std::string service;
  ClassifyOptions classify;
};

void AddConnection(CLI::App& app, Arguments& arguments) {
  app.add_option("--server", arguments.target, "Address of the server")
      ->type_name("HOST:PORT")
      ->envname("SPATIALMAMBA_SERVER")
      ->capture_default_str();
  const auto is_duration = [](const std::string& text) {
    return ParseDuration(text) ? std::string()
                               : "write a duration such as 500ms, 5s or 2m, not " + text;
  };
  app.add_option("--deadline", arguments.deadline, "How long a call may take with its retries")
      ->type_name("DURATION")
      ->check(is_duration)
      ->capture_default_str();
}

void AddClassify(CLI::App& app, ClassifyOptions& options) {
  CLI::App* command = app.add_subcommand("classify", "Name what is in pictures");
  command->add_option("files", options.files, "JPEG, PNG, WebP or TIFF files")->required();
  command->add_option("--model", options.model, "Default: the only classifier that is loaded");
  command->add_option("--top-k", options.top_k, "Classes for each picture")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", options.json, "One JSON object a line for each picture");
  command->add_flag("--explain", options.explain, "Also say where the time went, in ms");
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv, const Output& output) {
  Arguments arguments;
  CLI::App app("Client of the Spatial-Mamba server.", "spatial-mamba-cli");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();  // --server and --deadline may stand after the command too
  AddConnection(app, arguments);
  CLI::App* health =
      app.add_subcommand("health", "Exit with 0 only if the server is ready; for probes");
  health->add_option("--service", arguments.service,
                     "liveness, classify, detect or segment. Default: readiness");
  CLI::App* models = app.add_subcommand("models", "List what is loaded");
  AddClassify(app, arguments.classify);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, output.out, output.err) == 0 ? kOk : kUsage;
  }
  const Server server{.target = arguments.target,
                      .channel = Connect(arguments.target),
                      .deadline = *ParseDuration(arguments.deadline)};
  if (health->parsed()) {
    return Health(server, arguments.service, output);
  }
  if (models->parsed()) {
    return Models(server, output);
  }
  return Classify(server, arguments.classify, output);
}

}  // namespace spatialmamba
