#include "clients/cpp/loadgen_command.h"

#include <absl/strings/str_cat.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "clients/cpp/duration.h"
#include "clients/cpp/loadgen_bars.h"
#include "clients/cpp/loadgen_report.h"
#include "clients/cpp/loadgen_session.h"

namespace spatialmamba::loadgen {
namespace {

constexpr char kFooter[] =
    "Examples:\n"
    "  spatial-mamba-loadgen --images photos --rate 30 --duration 30s --deadline 300ms\n"
    "  spatial-mamba-loadgen --images photos --bars\n"
    "  spatial-mamba-loadgen --mix mix.json --closed 16\n"
    "Exit status:\n"
    "  0  measured\n"
    "  1  could not run\n"
    "  2  wrong usage\n"
    "  3  measured, but this machine sent requests late: not to be trusted";

struct Arguments {
  std::string server = "localhost:8001";
  std::string mix;
  MixEntry entry;
  std::string task = "classify";
  std::string deadline = "1s";
  std::string cancel_after = "10ms";
  int64_t connections = 0;
  std::string arrivals = "poisson";
  std::string burst_on = "200ms";
  std::string burst_off = "800ms";
  std::string warmup = "2s";
  std::string duration = "30s";
  std::string lateness_bound;
  std::string max_time = "10m";
  bool bars = false;
  std::string json;
  std::string percentiles;
  Plan plan;
};

std::string CheckDuration(const std::string& text) {
  return ParseDuration(text) ? "" : "write a duration such as 500ms, 5s or 2m, not " + text;
}

void AddRequests(CLI::App& app, Arguments& to) {
  app.add_option("--server", to.server, "Address of the server")
      ->type_name("HOST:PORT")
      ->envname("SPATIALMAMBA_SERVER")
      ->capture_default_str();
  auto* mix = app.add_option("--mix", to.mix,
                             "JSON array of kinds of requests: name, weight, task, model, version, "
                             "images, deadline, images_per_request, cancel_share, cancel_after");
  app.add_option("--images", to.entry.images, "Files, folders, or raw:HxW for noise of that size")
      ->excludes(mix);
  app.add_option("--task", to.task, "What is asked")
      ->check(CLI::IsMember({"classify", "detect", "segment"}))
      ->capture_default_str();
  app.add_option("--model", to.entry.model, "Default: the only model of the task");
  app.add_option("--deadline", to.deadline, "Of each request")
      ->check(CheckDuration)
      ->capture_default_str();
  app.add_option("--images-per-request", to.entry.images_per_request)
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--cancel-share", to.entry.cancel_share, "Requests whose caller hangs up")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--cancel-after", to.cancel_after)->check(CheckDuration)->capture_default_str();
  app.add_option("--connections", to.connections, "0: one for each kind of requests")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
}

void AddLoad(CLI::App& app, Arguments& to) {
  app.add_option("--rate", to.plan.rates, "Open loop: requests a second; several: one by one")
      ->check(CLI::PositiveNumber);
  app.add_option("--load", to.plan.loads,
                 "Open loop: shares of the offline rate (measured first, see --closed)")
      ->check(CLI::PositiveNumber);
  app.add_option("--closed", to.plan.closed_callers,
                 "Closed loop: callers that each wait for their answer; gives the offline rate")
      ->check(CLI::Range(1, 10'000));
  app.add_flag("--service-time", to.plan.service_time,
               "The median time of one image on the idle server");
  app.add_option("--deadline-factor", to.plan.deadline_factor,
                 "Deadlines become this many service times")
      ->check(CLI::PositiveNumber);
  app.add_flag("--search", to.plan.search,
               "The highest rate at which enough requests are answered in time");
  app.add_option("--wanted-share", to.plan.wanted_share, "What is enough")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_flag("--bars", to.bars,
               "Service time, deadlines of ten service times, offline rate, loads of .65, .75, 1.5 "
               "and 3, and the search");
  app.add_option("--arrivals", to.arrivals,
                 "poisson, constant, bursts, or a file with an offset in seconds on each line")
      ->capture_default_str();
  app.add_option("--burst-on", to.burst_on)->check(CheckDuration)->capture_default_str();
  app.add_option("--burst-off", to.burst_off)->check(CheckDuration)->capture_default_str();
}

void AddRun(CLI::App& app, Arguments& to) {
  app.add_option("--duration", to.duration, "Of each measurement, after its warm-up")
      ->check(CheckDuration)
      ->capture_default_str();
  app.add_option("--warmup", to.warmup, "Sent before it, and not counted")
      ->check(CheckDuration)
      ->capture_default_str();
  app.add_option("--repeats", to.plan.repeats, "Of each open loop; the median counts")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--seed", to.plan.seed, "Of the schedule")->capture_default_str();
  app.add_option("--lateness-bound", to.lateness_bound,
                 "How late 99 % of the requests may be sent; default 5ms, or a tenth of the "
                 "shortest deadline if that is more")
      ->check(CheckDuration);
  app.add_option("--max-time", to.max_time, "The measurement ends then, done or not")
      ->check(CheckDuration)
      ->capture_default_str();
  app.add_option("--json", to.json, "Write everything that was measured to this file");
  app.add_option("--hgrm", to.percentiles, "Write the percentile distributions to this file");
}

void FillPlan(Arguments& arguments) {
  Plan& plan = arguments.plan;
  plan.warmup = *ParseDuration(arguments.warmup);
  plan.duration = *ParseDuration(arguments.duration);
  if (!arguments.lateness_bound.empty()) {
    plan.lateness_bound = *ParseDuration(arguments.lateness_bound);
  }
  plan.arrivals.burst_on = *ParseDuration(arguments.burst_on);
  plan.arrivals.burst_off = *ParseDuration(arguments.burst_off);
  if (arguments.bars) {
    plan.service_time = true;
    if (plan.deadline_factor == 0) plan.deadline_factor = 10;
    if (plan.loads.empty()) plan.loads = {0.65, 0.75, 1.5, 3};
    plan.search = true;
  }
  const bool needs_offline = !plan.loads.empty();
  if (needs_offline && plan.closed_callers == 0) plan.closed_callers = 32;
}

absl::Status FillArrivals(Arguments& arguments) {
  Arrivals& arrivals = arguments.plan.arrivals;
  if (arguments.arrivals == "poisson") {
    arrivals.kind = ArrivalKind::kPoisson;
  } else if (arguments.arrivals == "constant") {
    arrivals.kind = ArrivalKind::kConstant;
  } else if (arguments.arrivals == "bursts") {
    arrivals.kind = ArrivalKind::kBursts;
  } else {
    arrivals.kind = ArrivalKind::kRecorded;
    absl::StatusOr<std::vector<Nanos>> offsets = ReadOffsets(arguments.arrivals);
    if (!offsets.ok()) return offsets.status();
    arrivals.recorded = *std::move(offsets);
    // The schedule is as long as the recording; its rate is what it is.
    const Nanos length = arrivals.recorded.back() + std::chrono::milliseconds(1);
    arguments.plan.warmup = Nanos::zero();
    arguments.plan.duration = length;
    const double seconds = std::chrono::duration<double>(length).count();
    arguments.plan.rates = {static_cast<double>(arrivals.recorded.size()) / seconds};
    arguments.plan.loads.clear();
    arguments.plan.search = false;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<MixEntry>> MakeMix(Arguments& arguments) {
  MixEntry& entry = arguments.entry;
  entry.task = arguments.task == "detect"    ? TaskKind::kDetect
               : arguments.task == "segment" ? TaskKind::kSegment
                                             : TaskKind::kClassify;
  entry.deadline = *ParseDuration(arguments.deadline);
  entry.cancel_after = *ParseDuration(arguments.cancel_after);
  if (!arguments.mix.empty()) return ReadMix(arguments.mix, entry);
  entry.name = arguments.task;
  return std::vector<MixEntry>{entry};
}

bool Save(const std::string& file, const std::string& what, const Output& output) {
  std::ofstream out(file);
  out << what;
  if (out.flush()) return true;
  output.err << "cannot write " << file << "\n";
  return false;
}

int MeasureAndReport(const Arguments& arguments, Target& target, const StopSign& stop,
                     const Output& output) {
  output.out << TableHead() << std::endl;
  const Progress progress{
      .on_step = [&](const std::string& step) { output.err << step << std::endl; },
      .on_point = [&](const Report& report,
                      const Point& point) { output.out << TableRow(report, point) << std::endl; }};
  const Report report = Measure(arguments.plan, target, stop, progress);
  WriteSummary(report, output.out);
  if (arguments.bars) output.out << FormatBars(Judge(report));
  bool saved = true;
  if (!arguments.json.empty()) {
    nlohmann::ordered_json json = ToJson(report, arguments.plan, target);
    if (arguments.bars) json["bars"] = ToJson(Judge(report));
    // Messages of a server need not be UTF-8.
    using Json = nlohmann::ordered_json;
    saved = Save(arguments.json, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n",
                 output);
  }
  if (!arguments.percentiles.empty()) {
    std::ostringstream text;
    WritePercentiles(report, text);
    saved = Save(arguments.percentiles, text.str(), output) && saved;
  }
  if (!saved) return kCouldNotRun;
  if (report.interrupted) output.err << "stopped early: interrupted, or --max-time was over\n";
  return report.valid() ? kMeasured : kInvalid;
}

}  // namespace

int RunLoadgen(int argc, const char* const* argv, const std::atomic<bool>& interrupted,
               const Output& output) {
  Arguments arguments;
  CLI::App app("Measures a Spatial-Mamba server under load.", "spatial-mamba-loadgen");
  app.footer(kFooter);
  AddRequests(app, arguments);
  AddLoad(app, arguments);
  AddRun(app, arguments);
  try {
    app.parse(argc, argv);
    if (arguments.mix.empty() && arguments.entry.images.empty()) {
      throw CLI::RequiredError("--images or --mix");
    }
    FillPlan(arguments);
    const Plan& plan = arguments.plan;
    const bool recorded = arguments.arrivals != "poisson" && arguments.arrivals != "constant" &&
                          arguments.arrivals != "bursts";
    if (!plan.service_time && plan.closed_callers == 0 && plan.rates.empty() &&
        plan.loads.empty() && !plan.search && !recorded) {
      throw CLI::RequiredError(
          "one of --rate, --load, --closed, --service-time, --search, --bars or recorded "
          "--arrivals");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error, output.out, output.err) == 0 ? kMeasured : kWrongUsage;
  }
  const auto fail = [&](const absl::Status& status) {
    output.err << status.message() << "\n";
    return kCouldNotRun;
  };
  if (const absl::Status status = FillArrivals(arguments); !status.ok()) return fail(status);
  absl::StatusOr<std::vector<MixEntry>> mix = MakeMix(arguments);
  if (!mix.ok()) return fail(mix.status());
  auto target = Target::Prepare(*std::move(mix),
                                {.server = arguments.server, .connections = arguments.connections});
  if (!target.ok()) return fail(target.status());
  if (const absl::Status status = (*target)->Probe(); !status.ok()) return fail(status);
  const StopSign stop(interrupted, Clock::now() + *ParseDuration(arguments.max_time));
  return MeasureAndReport(arguments, **target, stop, output);
}

}  // namespace spatialmamba::loadgen
