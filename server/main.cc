#include <malloc.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "server/app.h"
#include "server/config.h"
#include "server/log.h"
#include "server/ports_file.h"
#include "server/process_limits.h"
#include "server/stop_signal.h"

namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  bool check_config = false;
  std::string ports_file;
};

// The exit status; 1 is for what keeps the server from starting.
constexpr int kDeviceFailed = 2;

int Fail(const absl::Status& status) {
  std::cerr << "spatial-mamba-server: " << std::string(status.message()) << std::endl;
  return 1;
}

int Run(const Arguments& arguments) {
  using namespace spatialmamba;
  const absl::StatusOr<Config> config = LoadConfig(arguments.config, arguments.overrides);
  if (!config.ok()) return Fail(config.status());
  if (arguments.check_config) {
    if (const absl::Status status = CheckSupported(*config); !status.ok()) return Fail(status);
    std::cout << FormatConfig(*config) << std::flush;
    if (!std::cout) return Fail(absl::UnavailableError("standard output cannot be written"));
    return 0;
  }
  ConfigureLog(config->log);
  absl::StatusOr<std::unique_ptr<App>> app = App::Start(*config, RequestStop);
  if (!app.ok()) return Fail(app.status());
  if (!arguments.ports_file.empty()) {
    const absl::Status status = WritePortsFile(arguments.ports_file, (*app)->grpc_address().port,
                                               (*app)->admin_address().port);
    if (!status.ok()) return Fail(status);
  }
  WaitForStopSignal();
  (*app)->Drain();
  return (*app)->failed() ? kDeviceFailed : 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Messages of some megabytes come and go: memory that was given back to the system costs a page
  // fault for every 4 KiB when the next one comes.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  spatialmamba::CatchStopSignals();

  Arguments arguments;
  CLI::App command("Serves Spatial-Mamba vision models over gRPC.", "spatial-mamba-server");
  command.add_option("--config", arguments.config, "Configuration file (YAML)")->required();
  command.add_option("--set", arguments.overrides, "Override a key: batching.max_batch_size=4")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_flag("--check-config", arguments.check_config,
                   "Validate, print the effective configuration and exit");
  command.add_option("--ports-file", arguments.ports_file,
                     "Write the ports as JSON to this file when ready");
  command.set_version_flag("--version", spatialmamba::ServerVersion());
  CLI11_PARSE(command, argc, argv);
  if (const absl::Status status = spatialmamba::PrepareProcessLimits(); !status.ok()) {
    return Fail(status);
  }
  // What is thrown before there is a server: no memory, or no thread more.
  try {
    return Run(arguments);
  } catch (const std::bad_alloc&) {
    return Fail(absl::ResourceExhaustedError("not enough memory; give the process more"));
  } catch (const std::exception& error) {
    return Fail(absl::InternalError(error.what()));
  }
}
