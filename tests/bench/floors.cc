// The work of a network, the time that this machine needs for it at least, and where its time goes.
//
//   floors --task segment --variant base --size 512x2048 --batch 2 --precision bf16 --threads 2
//
// Runs the network with synthetic weights as the server runs it (small images one a thread, large
// ones on all threads), and prints for every kind of op and shape: how often, multiply-adds,
// evaluations of exp, log and erf, its milliseconds an image, its rates, its share of the whole and
// of its floor: the time that the arithmetic takes at rates that the program measures first, or
// that moving the data takes, op by op; see profile.h.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "model/net/mask_rcnn_tensors.h"
#include "model/net/tensor_list.h"
#include "model/net/upernet_tensors.h"
#include "model/ops/instruction_set.h"
#include "model/runtime/network.h"
#include "model/runtime/pool_context.h"
#include "tests/bench/ceilings.h"
#include "tests/bench/profile.h"
#include "tests/oracle/float_tensor.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string task = "classify";
  std::string variant = "tiny";
  std::string size = "224x224";
  int64_t batch = 1;
  std::string precision = "fp32";
  int threads = UsableCores();
  int repeats = 5;
  bool json = false;
};

std::vector<ExpectedTensor> TensorsOf(const ModelSpec& spec) {
  if (spec.task == VisionTask::kDetect) return MaskRcnnTensors(spec);
  if (spec.task == VisionTask::kSegment) return UperNetTensors(spec);
  return ClassifierTensors(spec.variant, spec.classes);
}

Checkpoint SyntheticCheckpoint(const ModelSpec& spec) {
  Checkpoint checkpoint;
  for (const ExpectedTensor& tensor : TensorsOf(spec)) {
    if (tensor.optional) continue;
    checkpoint.tensors[tensor.key] =
        oracle::FloatTensor(oracle::Tensor(1, tensor.key, tensor.shape), tensor.shape);
  }
  return checkpoint;
}

ModelSpec SpecOf(const Options& options) {
  ModelSpec spec;
  if (options.task == "classify") {
    spec.classes = 1000;
  } else if (options.task == "detect") {
    spec.task = VisionTask::kDetect;
    spec.classes = 80;
  } else {
    spec.task = VisionTask::kSegment;
    spec.classes = 150;
  }
  spec.variant = *FindVariant(options.variant);
  if (options.precision == "bf16") spec.matrices = MatrixType::kBfloat16;
  return spec;
}

Query QueryOf(VisionTask task, const PixelSize& size) {
  if (task == VisionTask::kDetect) return DetectQuery{.valid = size};
  if (task == VisionTask::kSegment) return SegmentQuery{.original = size};
  return ClassifyQuery{};
}

// Forward passes of one network on images of one size.
class Runner {
 public:
  Runner(const Options& options, const PixelSize& size, ThreadPool& pool)
      : spec_(SpecOf(options)),
        network_(MakeNetwork(spec_, SyntheticCheckpoint(spec_))),
        span_{0, size.height, size.width},
        query_(QueryOf(spec_.task, size)),
        batch_(options.batch),
        pool_(pool),
        together_(pool),
        arenas_(static_cast<size_t>(pool.threads())) {
    for (const double value : oracle::Unit(1, "floors.input", span_.tokens() * 3)) {
      pixels_.push_back(static_cast<float>(value));
    }
  }

  // One batch: its seconds. Op by op into `profile`: of all threads, where each has its own images.
  double Run(Profile& profile) {
    const Clock::time_point start = Clock::now();
    constexpr int64_t kAlonePixels = 512 * 512;  // as the server's replica does it
    if (batch_ >= pool_.threads() && span_.tokens() <= kAlonePixels) {
      std::vector<Profile> profiles(static_cast<size_t>(pool_.threads()));
      pool_.ParallelFor(batch_, [&](int64_t, int worker) {
        SerialContext alone(together_.Scratch(worker));
        Forward(alone, static_cast<size_t>(worker), profiles[static_cast<size_t>(worker)]);
      });
      for (const Profile& one : profiles) profile.Add(one);
      thread_share_ = 1.0 / pool_.threads();
    } else {
      for (int64_t i = 0; i < batch_; ++i) Forward(together_, 0, profile);
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  // Of the seconds of ops, to make them seconds of the machine.
  double thread_share() const { return thread_share_; }

 private:
  void Forward(Context& context, size_t worker, Profile& profile) {
    ProfilingContext profiling(context);
    network_->Forward(profiling, arenas_[worker], {pixels_.data(), span_.tokens(), 3, 3},
                      {&span_, 1}, {&query_, 1});
    profile.Add(profiling.profile());
  }

  const ModelSpec spec_;
  const std::unique_ptr<Network> network_;
  const Span span_;
  const Query query_;
  const int64_t batch_;
  ThreadPool& pool_;
  PoolContext together_;
  std::vector<Arena> arenas_;
  std::vector<float> pixels_;
  double thread_share_ = 1;
};

// One line of the table, an image.
struct Line {
  std::string name;
  Work work;
  double count = 0;
  double seconds = 0;
  double floor = 0;
};

struct Report {
  std::vector<Line> lines;  // the slowest first
  double seconds = 0;       // an image
  double floor = 0;
  Work work;
};

Line LineOf(const OpTotal& op, const Ceilings& ceilings, int64_t batch, double share) {
  const auto images = static_cast<double>(batch);
  const auto each = [&](int64_t sum) {
    return static_cast<int64_t>(static_cast<double>(sum) / images);
  };
  const Work& w = op.work;
  Line line;
  line.name = std::string(w.op);
  if (w.inputs > 0) {
    line.name += " " + std::to_string(w.rows) + " x " + std::to_string(w.inputs) + " > " +
                 std::to_string(w.outputs);
  }
  line.work = w;
  line.work.products = each(w.products);
  line.work.multiply_adds = each(w.multiply_adds);
  line.work.evaluations = each(w.evaluations);
  line.work.weight_bytes = each(w.weight_bytes);
  line.work.map_bytes = each(w.map_bytes);
  line.count = static_cast<double>(op.count) / images;
  line.seconds = op.seconds * share / images;
  line.floor = FloorSeconds(line.work, ceilings, batch, line.count);
  return line;
}

// `share`: of the seconds of ops, to make them seconds of the machine.
Report ReportOf(const Profile& profile, const Ceilings& ceilings, double best, int64_t batch,
                double share) {
  Report report;
  report.seconds = best / static_cast<double>(batch);
  for (const auto& [key, op] : profile.ops()) {
    report.lines.push_back(LineOf(op, ceilings, batch, share));
    const Line& line = report.lines.back();
    report.floor += line.floor;
    report.work.products += line.work.products;
    report.work.multiply_adds += line.work.multiply_adds;
    report.work.evaluations += line.work.evaluations;
    report.work.weight_bytes += line.work.weight_bytes;
    report.work.map_bytes += line.work.map_bytes;
  }
  std::ranges::sort(report.lines, std::greater(), &Line::seconds);
  return report;
}

double Giga(double value) { return value * 1e-9; }

nlohmann::json JsonOf(const Line& line) {
  return {{"op", line.name},
          {"count", line.count},
          {"products", line.work.products},
          {"multiply_adds", line.work.multiply_adds},
          {"evaluations", line.work.evaluations},
          {"weight_bytes", line.work.weight_bytes},
          {"map_bytes", line.work.map_bytes},
          {"seconds", line.seconds},
          {"floor_seconds", line.floor}};
}

void PrintJson(const Ceilings& ceilings, const Report& report) {
  nlohmann::json json = {{"instruction_set", Name(CurrentInstructionSet())},
                         {"ceilings",
                          {{"products_fp32", ceilings.products_fp32},
                           {"products_bf16", ceilings.products_bf16},
                           {"multiply_adds", ceilings.multiply_adds},
                           {"evaluations", ceilings.evaluations},
                           {"cache_bytes", ceilings.cache_bytes},
                           {"bytes", ceilings.bytes}}},
                         {"seconds", report.seconds},
                         {"floor_seconds", report.floor},
                         {"ops", nlohmann::json::array()}};
  for (const Line& line : report.lines) json["ops"].push_back(JsonOf(line));
  std::cout << json.dump(1) << '\n';
}

void Print(const Options& options, const Ceilings& ceilings, const Report& report) {
  std::printf(
      "%s, %d threads: GEMM fp32 %.0f and bf16 %.0f, FMA %.0f G multiply-adds/s; exp %.2f G/s; "
      "read from cache %.0f, memory %.0f GB/s\n",
      std::string(Name(CurrentInstructionSet())).c_str(), options.threads,
      Giga(ceilings.products_fp32), Giga(ceilings.products_bf16), Giga(ceilings.multiply_adds),
      Giga(ceilings.evaluations), Giga(ceilings.cache_bytes), Giga(ceilings.bytes));
  std::printf("%s %s %s, batch %ld, %s: %.2f ms an image, floor %.2f ms: %.0f %% of it\n",
              options.task.c_str(), options.variant.c_str(), options.size.c_str(),
              static_cast<long>(options.batch), options.precision.c_str(), 1e3 * report.seconds,
              1e3 * report.floor, 100 * report.floor / report.seconds);
  std::printf(
      "%.2f G products, %.2f G other multiply-adds, %.1f M evaluations, weights %.1f MB, "
      "maps %.0f MB\n\n",
      Giga(static_cast<double>(report.work.products)),
      Giga(static_cast<double>(report.work.multiply_adds)),
      1e-6 * static_cast<double>(report.work.evaluations),
      1e-6 * static_cast<double>(report.work.weight_bytes),
      1e-6 * static_cast<double>(report.work.map_bytes));
  std::printf("%-40s %5s %8s %6s %8s %7s %7s %8s\n", "op", "count", "ms", "share", "GFLOP/s",
              "GB/s", "M eval", "of floor");
  double ops = 0;
  for (const Line& line : report.lines) {
    const double flops = 2 * static_cast<double>(line.work.products + line.work.multiply_adds);
    const auto bytes = static_cast<double>(line.work.weight_bytes + line.work.map_bytes);
    std::printf("%-40s %5.4g %8.3f %5.1f%% %8.0f %7.1f %7.2f %7.0f%%\n", line.name.c_str(),
                line.count, 1e3 * line.seconds, 100 * line.seconds / report.seconds,
                Giga(flops / line.seconds), Giga(bytes / line.seconds),
                1e-6 * static_cast<double>(line.work.evaluations), 100 * line.floor / line.seconds);
    ops += line.seconds;
  }
  std::printf("%-40s %5s %8.3f %5.1f%%\n", "between the ops", "", 1e3 * (report.seconds - ops),
              100 * (1 - ops / report.seconds));
}

PixelSize SizeOf(const std::string& text) {
  const size_t cross = text.find('x');
  if (cross == std::string::npos) throw std::invalid_argument(text + ": HEIGHTxWIDTH is wanted");
  return {std::stoll(text.substr(0, cross)), std::stoll(text.substr(cross + 1))};
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("The work of a network, its floor on this machine, and where its time goes");
  app.add_option("--task", options.task)->check(CLI::IsMember({"classify", "detect", "segment"}));
  app.add_option("--variant", options.variant)
      ->check(CLI::IsMember({"tiny", "small", "base", "micro"}));
  app.add_option("--size", options.size, "HEIGHTxWIDTH of the network's input");
  app.add_option("--batch", options.batch)->check(CLI::Range(1, 1024));
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1024));
  app.add_option("--repeats", options.repeats, "the fastest counts")->check(CLI::Range(1, 1000));
  app.add_flag("--json", options.json);
  CLI11_PARSE(app, argc, argv);

  ThreadPool pool(options.threads);
  const Ceilings ceilings = MeasureCeilings(pool);
  Runner runner(options, SizeOf(options.size), pool);
  Profile warm_up;
  runner.Run(warm_up);
  Profile fastest;
  double best = 0;
  for (int i = 0; i < options.repeats; ++i) {
    Profile profile;
    const double seconds = runner.Run(profile);
    if (i == 0 || seconds < best) {
      best = seconds;
      fastest = profile;
    }
  }
  const Report report = ReportOf(fastest, ceilings, best, options.batch, runner.thread_share());
  if (options.json) {
    PrintJson(ceilings, report);
  } else {
    Print(options, ceilings, report);
  }
  return 0;
}

}  // namespace
}  // namespace spatialmamba

int main(int argc, char** argv) {
  try {
    return spatialmamba::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "floors: " << error.what() << '\n';
    return 1;
  }
}
