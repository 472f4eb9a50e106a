// The model on a GPU: replays of a captured graph by batch size, and the share of the floor that
// the memory traffic of nine fused kernels a block sets at the copy bandwidth measured in this run.
//
//   gpu_bench --variants tiny,base --sizes 224,800x1280 --batches 1,64 --precisions bf16,fp32
//   gpu_bench --gemms --variants tiny --batches 64     the model's matrix products alone
//   gpu_bench --once --batches 64                      one forward, for a profiler
//   gpu_bench --dump FILE --batches 8                  the logits of synthetic pictures 1, 2, ...
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tests/bench/gpu_gemms.h"
#include "tests/bench/gpu_model.h"

namespace spatialmamba {
namespace {

struct Options {
  std::vector<std::string> tasks = {"classify"};
  std::vector<std::string> variants = {"tiny"};
  std::vector<std::string> sizes = {"224"};
  std::vector<int64_t> batches = {1, 2, 4, 8, 16, 32, 64, 128, 256};
  std::vector<std::string> precisions = {"bf16"};
  double seconds = 0.2;
  std::string json;
  std::string dump;
  bool gemms = false;
  bool once = false;
};

DeviceType TypeOf(const std::string& precision) {
  return precision == "fp32" ? DeviceType::kFloat32 : DeviceType::kBfloat16;
}

// "224" or "800x1280", height first.
BatchSize SizeOf(const std::string& text, int64_t images) {
  const size_t cross = text.find('x');
  const int64_t height = std::stoll(text.substr(0, cross));
  return {images, height, cross == std::string::npos ? height : std::stoll(text.substr(cross + 1))};
}

// What the maps of an image move through memory at least, in bf16: with nine fused kernels a block
// (F1), and with the fusions across those (F2), at 224x224; in proportion to the pixels otherwise.
struct Traffic {
  double nine_kernels = 0;
  double further = 0;
};
Traffic TrafficOf(const std::string& task, const std::string& variant, const std::string& precision,
                  int64_t pixels) {
  if (task != "classify") return {};  // nobody has counted what the heads move
  Traffic traffic{134e6, 82e6};
  if (variant == "small") traffic = {191e6, 128e6};
  if (variant == "base") traffic = {287e6, 191e6};
  const double scale =
      static_cast<double>(pixels) / (224 * 224) * (precision == "fp32" ? 2.0 : 1.0);
  return {traffic.nine_kernels * scale, traffic.further * scale};
}

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)) {}

  void Run() {
    if (options_.once || !options_.dump.empty()) return RunOnce();
    MeasureDevice();
    if (options_.gemms) {
      MeasureGemms();
    } else {
      for (const std::string& task : options_.tasks) MeasureModels(task);
    }
    if (!options_.json.empty()) std::ofstream(options_.json) << json_.dump(1) << '\n';
  }

 private:
  void RunOnce() {
    const std::string& precision = options_.precisions[0];
    const auto network =
        MakeBenchedNetwork(options_.tasks[0], options_.variants[0], TypeOf(precision));
    BenchedBatch batch(*network, SizeOf(options_.sizes[0], options_.batches[0]));
    const std::vector<float> answer = batch.RunOnce();
    if (options_.dump.empty()) return;
    std::ofstream file(options_.dump, std::ios::binary);
    file.write(reinterpret_cast<const char*>(answer.data()),
               static_cast<std::streamsize>(answer.size() * sizeof(float)));
    if (!file.flush()) throw std::runtime_error("cannot write " + options_.dump);
  }

  void MeasureDevice() {
    bandwidth_ = CopyBytesPerSecond();
    const double launch = LaunchMicroseconds();
    json_["device"] = DeviceName();
    json_["copy_bytes_per_second"] = bandwidth_;
    json_["launch_microseconds"] = launch;
    std::printf("%s\ncopy %.0f GB/s (read and written), launch %.2f us in a graph\n",
                DeviceName().c_str(), bandwidth_ * 1e-9, launch);
  }

  void MeasureModels(const std::string& task) {
    std::printf("%-26s %5s %6s %9s %9s %9s %9s %5s %5s %8s\n", "", "batch", "graph", "ms", "best",
                "latency", "img/s", "F1", "F2", "MB");
    for (const std::string& variant : options_.variants) {
      for (const std::string& precision : options_.precisions) {
        const auto network = MakeBenchedNetwork(task, variant, TypeOf(precision));
        for (const std::string& size : options_.sizes) {
          for (const int64_t images : options_.batches) {
            MeasureModel(*network, task + " " + variant, precision, size, images);
          }
        }
      }
    }
  }

  // One that does not fit into memory ends no run.
  void MeasureModel(BenchedNetwork& network, const std::string& name, const std::string& precision,
                    const std::string& size_text, int64_t images) {
    const BatchSize size = SizeOf(size_text, images);
    const std::string title = name + " " + size_text + " " + precision;
    ModelTime time;
    try {
      BenchedBatch batch(network, size);
      time = batch.Measure(options_.seconds);
    } catch (const CudaError& error) {
      if (!error.out_of_memory()) throw;
      std::printf("%-26s %5ld does not fit into memory\n", title.c_str(),
                  static_cast<long>(images));
      return;
    }
    const double seconds_an_image = time.milliseconds / 1000 / static_cast<double>(images);
    const size_t space = name.find(' ');
    const Traffic traffic =
        TrafficOf(name.substr(0, space), name.substr(space + 1), precision, size.pixels());
    const double f1 = traffic.nine_kernels / bandwidth_ / seconds_an_image;
    const double f2 = traffic.further / bandwidth_ / seconds_an_image;
    std::printf("%-26s %5ld %6zu %9.3f %9.3f %9.3f %9.0f %4.0f%% %4.0f%% %8.0f\n", title.c_str(),
                static_cast<long>(images), time.launches, time.milliseconds, time.best_milliseconds,
                time.latency_milliseconds, 1 / seconds_an_image, 100 * f1, 100 * f2,
                static_cast<double>(time.workspace_bytes) * 1e-6);
    std::fflush(stdout);
    json_["models"].push_back({{"name", name},
                               {"size", size_text},
                               {"precision", precision},
                               {"batch", images},
                               {"milliseconds", time.milliseconds},
                               {"best_milliseconds", time.best_milliseconds},
                               {"latency_milliseconds", time.latency_milliseconds},
                               {"images_per_second", 1 / seconds_an_image},
                               {"share_of_f1", f1},
                               {"share_of_f2", f2},
                               {"launches", time.launches},
                               {"workspace_bytes", time.workspace_bytes},
                               {"replays", time.replays}});
  }

  void MeasureGemms() {
    std::printf("%-18s %9s %6s %7s %5s %9s %8s %7s\n", "", "rows", "inputs", "outputs", "times",
                "us", "TFLOP/s", "GB/s");
    for (const std::string& variant : options_.variants) {
      for (const std::string& precision : options_.precisions) {
        for (const int64_t images : options_.batches) {
          for (const GemmCase& gemm : GemmsOf(*FindVariant(variant), static_cast<int>(images))) {
            MeasureGemm(gemm, variant, precision, images);
          }
        }
      }
    }
  }

  void MeasureGemm(const GemmCase& gemm, const std::string& variant, const std::string& precision,
                   int64_t images) {
    const DeviceType type = TypeOf(precision);
    const double seconds = GemmMilliseconds(gemm, type, options_.seconds) / 1000;
    const double rows = gemm.rows;
    const double flops = 2.0 * rows * gemm.inputs * gemm.outputs;
    const double elements = rows * (gemm.inputs + gemm.outputs * (gemm.residual ? 2.0 : 1.0)) +
                            static_cast<double>(gemm.inputs) * gemm.outputs;
    const double bytes = elements * DeviceBytes(type);
    std::printf("%-18s %9d %6d %7d %5d %9.2f %8.1f %7.0f\n", gemm.layer.c_str(), gemm.rows,
                gemm.inputs, gemm.outputs, gemm.launches, seconds * 1e6, flops / seconds * 1e-12,
                bytes / seconds * 1e-9);
    json_["gemms"].push_back({{"layer", gemm.layer},
                              {"variant", variant},
                              {"precision", precision},
                              {"batch", images},
                              {"rows", gemm.rows},
                              {"inputs", gemm.inputs},
                              {"outputs", gemm.outputs},
                              {"bias", gemm.bias},
                              {"residual", gemm.residual},
                              {"activation", static_cast<int>(gemm.activation)},
                              {"launches", gemm.launches},
                              {"microseconds", seconds * 1e6},
                              {"bytes", bytes}});
  }

  Options options_;
  double bandwidth_ = 0;
  nlohmann::json json_;
};

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("The model on a GPU");
  app.add_option("--tasks", options.tasks)
      ->delimiter(',')
      ->check(CLI::IsMember({"classify", "detect", "segment"}));
  app.add_option("--variants", options.variants)
      ->delimiter(',')
      ->check(CLI::IsMember({"tiny", "small", "base", "micro"}));
  app.add_option("--sizes", options.sizes, "N or HEIGHTxWIDTH")->delimiter(',');
  app.add_option("--batches", options.batches)->delimiter(',')->check(CLI::Range(1, 4096));
  app.add_option("--precisions", options.precisions)
      ->delimiter(',')
      ->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--seconds", options.seconds, "for each measurement");
  app.add_option("--json", options.json, "a file to write the figures to");
  app.add_option("--dump", options.dump, "a file to write the first answer to");
  app.add_flag("--gemms", options.gemms, "measure the matrix products alone");
  app.add_flag("--once", options.once, "run the first of everything once, for a profiler");
  CLI11_PARSE(app, argc, argv);
  Bench(std::move(options)).Run();
  return 0;
}

}  // namespace
}  // namespace spatialmamba

int main(int argc, char** argv) {
  try {
    return spatialmamba::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "gpu_bench: " << error.what() << '\n';
    return 1;
  }
}
