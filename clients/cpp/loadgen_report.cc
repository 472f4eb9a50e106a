#include "clients/cpp/loadgen_report.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <sys/utsname.h>

#include <fstream>
#include <thread>

namespace spatialmamba::loadgen {
namespace {

double Milliseconds(Nanos duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double Milliseconds(int64_t microseconds) { return static_cast<double>(microseconds) / 1000; }

std::string Processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

nlohmann::ordered_json Quantiles(const Histogram& histogram) {
  nlohmann::ordered_json json;
  json["count"] = histogram.count();
  json["mean_ms"] = histogram.mean() / 1000;
  for (const double share : {0.5, 0.9, 0.95, 0.99, 0.999}) {
    json[absl::StrFormat("p%g_ms", share * 100)] = Milliseconds(histogram.Quantile(share));
  }
  json["max_ms"] = Milliseconds(histogram.max());
  return json;
}

nlohmann::ordered_json ToJson(const Tally& tally) {
  nlohmann::ordered_json json;
  json["sent"] = tally.sent();
  for (size_t i = 0; i < kOutcomes; ++i) {
    json[OutcomeName(static_cast<OutcomeKind>(i))] = tally.outcomes[i];
  }
  json["missed_share"] = tally.missed_share();
  json["images_in_time"] = tally.images_in_time;
  json["reasons"] = tally.reasons;
  json["unavailable"] = tally.unavailable;
  json["unavailable_with_hint"] = tally.unavailable_with_hint;
  json["latency"] = Quantiles(tally.latency);
  json["overshoot"] = Quantiles(tally.overshoot);
  json["no_answer"] = Quantiles(tally.no_answer);
  if (!tally.first_failure.empty()) json["first_failure"] = tally.first_failure;
  return json;
}

nlohmann::ordered_json ToJson(const Point& point, const Target& target) {
  nlohmann::ordered_json json;
  json["label"] = point.label;
  json["arrivals"] = point.arrivals;
  json["rate"] = point.rate;
  json["callers"] = point.callers;
  json["seed"] = point.seed;
  json["measured_seconds"] = std::chrono::duration<double>(point.measured).count();
  json["offered"] = point.offered();
  json["goodput"] = point.goodput();
  json["complete"] = point.complete;
  json["valid"] = point.valid();
  json["attempts"] = point.attempts;
  json["lateness"] = Quantiles(point.lateness);
  json["lateness_bound_ms"] = Milliseconds(point.lateness_bound);
  json["total"] = ToJson(point.total());
  for (size_t i = 0; i < point.entries.size(); ++i) {
    json["entries"][target.mix()[i].name] = ToJson(point.entries[i]);
  }
  return json;
}

}  // namespace

std::string TableHead() {
  return absl::StrFormat("%-8s %9s %9s %7s %8s %8s %8s %8s %7s %8s %8s %9s %8s", "load", "sent/s",
                         "goodput", "ratio", "missed%", "refused", "expired", "late", "failed",
                         "p50 ms", "p99 ms", "over ms", "own ms");
}

std::string TableRow(const Report& report, const Point& point) {
  const Tally total = point.total();
  const std::string ratio = report.offline_rate > 0 && point.callers == 0
                                ? absl::StrFormat("%.3f", point.goodput() / report.offline_rate)
                                : "-";
  return absl::StrFormat(
      "%-8s %9.1f %9.1f %7s %8.2f %8d %8d %8d %7d %8.1f %8.1f %9.2f %8.2f%s%s", point.label,
      point.offered(), point.goodput(), ratio, 100 * total.missed_share(),
      total.of(OutcomeKind::kRefused), total.of(OutcomeKind::kExpired),
      total.of(OutcomeKind::kLate), total.of(OutcomeKind::kFailed),
      Milliseconds(total.latency.Quantile(0.5)), Milliseconds(total.latency.Quantile(0.99)),
      Milliseconds(total.overshoot.Quantile(0.99)), Milliseconds(point.lateness.Quantile(0.99)),
      point.valid() ? "" : "  INVALID: sent late", point.complete ? "" : "  stopped early");
}

void WriteSummary(const Report& report, std::ostream& out) {
  if (report.service_time > Nanos::zero()) {
    out << absl::StrFormat("service time   %.2f ms (median of one image on the idle server)\n",
                           Milliseconds(report.service_time));
  }
  for (const Nanos deadline : report.deadlines) {
    out << absl::StrFormat("deadline       %.1f ms\n", Milliseconds(deadline));
  }
  if (report.offline_rate > 0) {
    out << absl::StrFormat("offline rate   %.1f requests/s\n", report.offline_rate);
  }
  if (report.highest_rate > 0) {
    out << absl::StrFormat("highest rate   %.1f requests/s", report.highest_rate);
    if (report.offline_rate > 0) {
      out << absl::StrFormat(", goodput ratio %.3f", report.highest_rate / report.offline_rate);
    }
    out << "\n";
  }
  Tally all;
  for (const Point& point : report.points) all.Merge(point.total());
  for (const auto& [reason, count] : all.reasons) {
    out << absl::StrFormat("no answer      %d x %s\n", count, reason);
  }
  if (all.unavailable > 0) {
    out << absl::StrFormat("retry hints    %d of %d refusals with UNAVAILABLE\n",
                           all.unavailable_with_hint, all.unavailable);
  }
  if (!all.first_failure.empty()) out << "first failure  " << all.first_failure << "\n";
  if (!report.valid()) {
    out << "INVALID: this machine sent requests late; give the generator a core of its own, or "
           "raise --lateness-bound\n";
  }
}

nlohmann::ordered_json ToJson(const Report& report, const Plan& plan, const Target& target) {
  nlohmann::ordered_json json;
  utsname system{};
  uname(&system);
  json["machine"] = {{"processor", Processor()},
                     {"cores", std::thread::hardware_concurrency()},
                     {"system", absl::StrCat(system.sysname, " ", system.release)}};
  json["server"] = report.server;
  json["models"] = report.models;
  json["connections"] = target.connections();
  for (const MixEntry& entry : target.mix()) {
    json["mix"].push_back({{"name", entry.name},
                           {"weight", entry.weight},
                           {"task", TaskName(entry.task)},
                           {"model", entry.model},
                           {"images", entry.images},
                           {"deadline_ms", Milliseconds(entry.deadline)},
                           {"images_per_request", entry.images_per_request},
                           {"cancel_share", entry.cancel_share},
                           {"cancel_after_ms", Milliseconds(entry.cancel_after)}});
  }
  json["plan"] = {{"arrivals", ArrivalName(plan.arrivals.kind)},
                  {"warmup_ms", Milliseconds(plan.warmup)},
                  {"duration_ms", Milliseconds(plan.duration)},
                  {"repeats", plan.repeats},
                  {"seed", plan.seed},
                  {"wanted_share", plan.wanted_share}};
  json["service_time_ms"] = Milliseconds(report.service_time);
  json["offline_rate"] = report.offline_rate;
  json["highest_rate"] = report.highest_rate;
  json["interrupted"] = report.interrupted;
  json["valid"] = report.valid();
  json["points"] = nlohmann::ordered_json::array();
  for (const Point& point : report.points) json["points"].push_back(ToJson(point, target));
  return json;
}

nlohmann::ordered_json ToJson(const std::vector<Bar>& bars) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Bar& bar : bars) {
    json.push_back({{"name", bar.name},
                    {"measured", bar.measured},
                    {"least", bar.least},
                    {"aim", bar.aim},
                    {"met", bar.met}});
  }
  return json;
}

void WritePercentiles(const Report& report, std::ostream& out) {
  for (const Point& point : report.points) {
    out << "# " << point.label << ", " << point.offered() << " requests a second\n";
    point.total().latency.WritePercentiles(1000, out);
    out << "\n";
  }
}

}  // namespace spatialmamba::loadgen
