#include "clients/cpp/cli.h"

#include <CLI/CLI.hpp>
#include <map>
#include <optional>

#include "clients/cpp/channel.h"
#include "clients/cpp/duration.h"
#include "clients/cpp/picture_command.h"

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
  DetectOptions detect;
  SegmentOptions segment;
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

CLI::App* AddTask(CLI::App& app, const std::string& name, const std::string& help,
                  PictureOptions& options) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("files", options.files, "JPEG, PNG, WebP or TIFF files")->required();
  command->add_option("--model", options.model, "Default: the only one that is loaded");
  command->add_flag("--json", options.json, "One JSON object a line for each picture");
  command->add_flag("--explain", options.explain, "Also say where the time went, in ms");
  command->add_option("--save-dir", options.save_dir, "Write annotated pictures there, as SVG")
      ->type_name("FOLDER");
  return command;
}

CLI::App* AddClassify(CLI::App& app, ClassifyOptions& options) {
  CLI::App* command = AddTask(app, "classify", "Name what is in pictures", options.pictures);
  command->add_option("--top-k", options.top_k, "Classes for each picture")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return command;
}

void AddTiling(CLI::App& command, TilingOptions& options) {
  CLI::Option* size = command.add_option("--tile-size", options.size,
                                         "Cut pictures into squares of this side, in pixels");
  size->check(CLI::PositiveNumber);
  command
      .add_option("--tile-overlap", options.overlap,
                  "Pixels that tiles share. Default: an eighth of their side")
      ->check(CLI::NonNegativeNumber)
      ->needs(size);
}

CLI::App* AddDetect(CLI::App& app, DetectOptions& options) {
  CLI::App* command = AddTask(app, "detect", "Find objects in pictures", options.pictures);
  command->add_option("--score-threshold", options.score_threshold, "Default: the model's")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--max-results", options.max_results, "Default: the model's")
      ->check(CLI::PositiveNumber);
  command->add_option("--classes", options.classes, "Only these indices")->delimiter(',');
  const std::map<std::string, v1::MaskEncoding> encodings = {
      {"coco_rle", v1::MASK_ENCODING_COCO_RLE},
      {"polygon", v1::MASK_ENCODING_POLYGON},
      {"png", v1::MASK_ENCODING_PNG},
      {"none", v1::MASK_ENCODING_NONE}};
  command->add_option("--masks", options.masks, "Default: coco_rle if the model has masks")
      ->transform(CLI::CheckedTransformer(encodings));
  AddTiling(*command, options.tiling);
  return command;
}

CLI::App* AddSegment(CLI::App& app, SegmentOptions& options) {
  CLI::App* command = AddTask(app, "segment", "Name what every pixel shows", options.pictures);
  AddTiling(*command, options.tiling);
  return command;
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
  CLI::App* detect = AddDetect(app, arguments.detect);
  CLI::App* segment = AddSegment(app, arguments.segment);
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
  if (detect->parsed()) {
    return AnswerPictures(server, arguments.detect.pictures, DetectTask(arguments.detect), output);
  }
  if (segment->parsed()) {
    return AnswerPictures(server, arguments.segment.pictures, SegmentTask(arguments.segment),
                          output);
  }
  return AnswerPictures(server, arguments.classify.pictures, ClassifyTask(arguments.classify),
                        output);
}

}  // namespace spatialmamba
