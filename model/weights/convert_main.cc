// spatial-mamba-convert: rewrites weight files as safetensors, or says what is in one.

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/weights/checkpoint.h"
#include "model/weights/inspect.h"
#include "model/weights/safetensors_writer.h"

namespace spatialmamba {
namespace {

struct Arguments {
  std::string input;
  std::string output;
  std::string key;
  std::string dtype = "keep";
  std::vector<std::string> metadata;
  bool inspect = false;
};

void Declare(CLI::App& app, Arguments& arguments) {
  app.add_option("input", arguments.input, "File to read: .pth, .pt or .safetensors")->required();
  app.add_option("output", arguments.output, "File to write: .safetensors");
  app.add_flag("--inspect", arguments.inspect, "Say what is in the file; write nothing");
  app.add_option("--key", arguments.key,
                 "State dict to take; default: model, else state_dict, else the top level");
  app.add_option("--dtype", arguments.dtype, "What floating tensors become")
      ->check(CLI::IsMember({"keep", "fp32", "fp16", "bf16"}))
      ->capture_default_str();
  app.add_option("--metadata", arguments.metadata, "key=value to store in the file; repeatable")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

std::optional<DType> TargetDType(const std::string& name) {
  if (name == "fp32") return DType::kFloat32;
  if (name == "fp16") return DType::kFloat16;
  if (name == "bf16") return DType::kBFloat16;
  return std::nullopt;
}

void Convert(const Arguments& arguments) {
  if (arguments.output.empty()) throw CheckpointError("name the file to write, or pass --inspect");
  const Checkpoint checkpoint = ReadCheckpoint(arguments.input, {.key = arguments.key});
  std::map<std::string, std::string> metadata = checkpoint.metadata;
  for (const std::string& item : arguments.metadata) {
    const size_t equals = item.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw CheckpointError("--metadata takes key=value, not \"" + item + "\"");
    }
    metadata[item.substr(0, equals)] = item.substr(equals + 1);
  }
  WriteSafetensors(arguments.output, checkpoint.tensors, metadata, TargetDType(arguments.dtype));
  std::cout << arguments.output << ": " << checkpoint.tensors.size() << " tensors\n";
}

void Run(const Arguments& arguments) {
  if (!arguments.inspect) return Convert(arguments);
  if (!arguments.output.empty()) throw CheckpointError("--inspect writes no file; name only one");
  Inspect(arguments.input, arguments.key, std::cout);
}

}  // namespace
}  // namespace spatialmamba

int main(int argc, char** argv) {
  CLI::App app("Rewrites weights of PyTorch or safetensors files as safetensors");
  spatialmamba::Arguments arguments;
  spatialmamba::Declare(app, arguments);
  try {
    app.parse(argc, argv);
    spatialmamba::Run(arguments);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::cerr << "spatial-mamba-convert: " << error.what() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "spatial-mamba-convert: " << error.what() << '\n';
  }
  return 1;
}
