#include "clients/cpp/loadgen_bars.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>

#include "clients/cpp/table.h"

namespace spatialmamba::loadgen {
namespace {

// The finished open loop at that share of the offline rate, or null.
const Point* AtLoad(const Report& report, double load) {
  const auto found = std::ranges::find_if(report.points, [&](const Point& point) {
    return point.complete && point.callers == 0 && report.offline_rate > 0 &&
           std::abs(point.rate / report.offline_rate - load) < 1e-6;
  });
  return found == report.points.end() ? nullptr : &*found;
}

std::string Percent(double share) { return absl::StrFormat("%.2f %%", 100 * share); }

void JudgeMisses(const Report& report, std::vector<Bar>& bars) {
  if (const Point* point = AtLoad(report, 0.65)) {
    const Tally total = point->total();
    bars.push_back(
        {.name = "refused, late or failed at .65 of the offline rate",
         .measured = absl::StrFormat("%d of %d", total.awaited() - total.of(OutcomeKind::kInTime),
                                     total.awaited()),
         .least = "0",
         .met = total.awaited() == total.of(OutcomeKind::kInTime)});
  }
  if (const Point* point = AtLoad(report, 0.75)) {
    const double missed = point->total().missed_share();
    bars.push_back({.name = "refused, late or failed at .75 of the offline rate",
                    .measured = Percent(missed),
                    .least = "at most 1 %",
                    .aim = "0.5 %",
                    .met = missed <= 0.01});
  }
}

void JudgeGoodput(const Report& report, std::vector<Bar>& bars) {
  const auto add = [&](const std::string& name, double ratio, double least, double aim) {
    bars.push_back({.name = name,
                    .measured = absl::StrFormat("%.3f", ratio),
                    .least = absl::StrFormat("%g", least),
                    .aim = absl::StrFormat("%g", aim),
                    .met = ratio >= least});
  };
  if (report.highest_rate > 0 && report.offline_rate > 0) {
    add("goodput ratio", report.highest_rate / report.offline_rate, 0.7, 0.8);
  }
  for (const double load : {1.5, 3.0}) {
    if (const Point* point = AtLoad(report, load)) {
      add(absl::StrFormat("goodput at %gx the offline rate, share of it", load),
          point->goodput() / report.offline_rate, 0.6, 0.85);
    }
  }
}

void JudgeAnswers(const Report& report, std::vector<Bar>& bars) {
  Tally open;
  for (const Point& point : report.points) {
    if (point.callers == 0) open.Merge(point.total());
  }
  if (open.sent() == 0) return;
  const int64_t overshoot = open.overshoot.Quantile(0.99);
  bars.push_back({.name = "p99 overshoot of answers past their deadline",
                  .measured = absl::StrFormat("%.2f ms", static_cast<double>(overshoot) / 1000),
                  .least = "0",
                  .met = overshoot == 0});
  bars.push_back(
      {.name = "UNAVAILABLE with a time to retry",
       .measured = absl::StrFormat("%d of %d", open.unavailable_with_hint, open.unavailable),
       .least = "all",
       .met = open.unavailable_with_hint == open.unavailable});
}

}  // namespace

std::vector<Bar> Judge(const Report& report) {
  std::vector<Bar> bars;
  JudgeMisses(report, bars);
  JudgeGoodput(report, bars);
  JudgeAnswers(report, bars);
  return bars;
}

std::string FormatBars(const std::vector<Bar>& bars) {
  if (bars.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const Bar& bar : bars) {
    rows.push_back({bar.name, bar.measured, bar.least, bar.aim, bar.met ? "yes" : "NO"});
  }
  return FormatTable({{"bar"},
                      {"measured", Align::kRight},
                      {"least", Align::kRight},
                      {"aim", Align::kRight},
                      {"met"}},
                     rows);
}

}  // namespace spatialmamba::loadgen
