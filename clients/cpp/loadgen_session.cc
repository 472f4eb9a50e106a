#include "clients/cpp/loadgen_session.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include <algorithm>
#include <utility>

namespace spatialmamba::loadgen {
namespace {

constexpr int kAttempts = 3;         // of a point whose sends were late
constexpr double kPrecision = 0.02;  // of the search, of its result
constexpr int64_t kServiceSkipped = 10;
constexpr int64_t kServiceCalls = 50;

class Session {
 public:
  Session(const Plan& plan, Target& target, const StopSign& stop, const Progress& progress)
      : plan_(plan), target_(target), stop_(stop), progress_(progress) {
    report_.server = target.server();
    const v1::ListModelsResponse loaded = target.ListModels();
    for (const v1::Model& model : loaded.models()) {
      report_.models.push_back(absl::StrCat(model.name(), " ", model.version(), " ",
                                            model.variant(), " ", model.precision(), " ",
                                            model.weights_sha256()));
    }
  }

  Report Run() {
    if (plan_.service_time || plan_.deadline_factor > 0) ServiceTime();
    if (plan_.deadline_factor > 0 && report_.service_time > Nanos::zero()) SetDeadlines();
    for (const MixEntry& entry : target_.mix()) report_.deadlines.push_back(entry.deadline);
    if (plan_.closed_callers > 0) OfflineRate();
    for (const double rate : plan_.rates) OpenLoopAt(absl::StrFormat("%.1f/s", rate), rate);
    for (const double load : plan_.loads) {
      OpenLoopAt(absl::StrFormat("%.2f", load), load * report_.offline_rate);
    }
    if (plan_.search) Search();
    report_.interrupted = stop_.up();
    return std::move(report_);
  }

 private:
  // The reference holds until the next point.
  const Point& Add(Point point) {
    report_.points.push_back(std::move(point));
    progress_.on_point(report_, report_.points.back());
    return report_.points.back();
  }

  void ServiceTime() {
    if (stop_.up()) return;
    progress_.on_step("service time: one caller, one image at a time");
    const Point& point = Add(loadgen::Run({.label = "service",
                                           .callers = 1,
                                           .duration = std::chrono::seconds(60),
                                           .skip = kServiceSkipped,
                                           .limit = kServiceSkipped + kServiceCalls,
                                           .one_image = true,
                                           .seed = plan_.seed},
                                          target_, stop_));
    report_.service_time = std::chrono::microseconds(point.total().latency.Quantile(0.5));
  }

  void SetDeadlines() {
    const auto deadline = std::chrono::round<Nanos>(
        plan_.deadline_factor * std::chrono::duration<double, std::nano>(report_.service_time));
    for (size_t i = 0; i < target_.mix().size(); ++i) target_.set_deadline(i, deadline);
  }

  void OfflineRate() {
    if (stop_.up()) return;
    progress_.on_step(absl::StrCat("offline rate: ", plan_.closed_callers, " callers"));
    const Point& point = Add(loadgen::Run({.label = "offline",
                                           .callers = plan_.closed_callers,
                                           .warmup = plan_.warmup,
                                           .duration = plan_.duration,
                                           .seed = plan_.seed},
                                          target_, stop_));
    report_.offline_rate = point.goodput();
  }

  Nanos LatenessBound() const {
    if (plan_.lateness_bound > Nanos::zero()) return plan_.lateness_bound;
    Nanos shortest = std::chrono::hours(24);
    for (const MixEntry& entry : target_.mix()) shortest = std::min(shortest, entry.deadline);
    return std::max<Nanos>(std::chrono::milliseconds(5), shortest / 10);
  }

  Point Attempt(const std::string& label, double rate, uint64_t seed) {
    OpenLoop load{.label = label,
                  .arrivals = plan_.arrivals,
                  .warmup = plan_.warmup,
                  .duration = plan_.duration,
                  .seed = seed,
                  .lateness_bound = LatenessBound()};
    load.arrivals.rate = rate;
    Point point;
    for (int attempt = 1; attempt <= kAttempts; ++attempt) {
      point = loadgen::Run(load, target_, stop_);
      point.attempts = attempt;
      if (point.valid() || stop_.up()) break;
    }
    return point;
  }

  // The repeat with the median goodput.
  Point Median(const std::string& label, double rate) {
    std::vector<Point> repeats;
    for (int64_t i = 0; i < plan_.repeats && (i == 0 || !stop_.up()); ++i) {
      repeats.push_back(Attempt(label, rate, plan_.seed + static_cast<uint64_t>(i)));
    }
    const auto middle = repeats.begin() + static_cast<int64_t>(repeats.size() / 2);
    std::nth_element(repeats.begin(), middle, repeats.end(),
                     [](const Point& a, const Point& b) { return a.goodput() < b.goodput(); });
    return std::move(*middle);
  }

  void OpenLoopAt(const std::string& label, double rate) {
    if (stop_.up() || rate <= 0) return;
    progress_.on_step(absl::StrFormat("open loop: %.1f requests a second", rate));
    Add(Median(label, rate));
  }

  // By halving the interval, from no more than the offline rate, or from what the server can be
  // seen to bear.
  void Search() {
    double low = 0;
    double high = report_.offline_rate > 0 ? 1.1 * report_.offline_rate : 0;
    double rate = high > 0 ? 0.7 * report_.offline_rate : 8;
    while (!stop_.up() && (high == 0 || high - low > kPrecision * high)) {
      progress_.on_step(absl::StrFormat("search: %.1f requests a second", rate));
      const Point& point = Add(Median("search", rate));
      if (!point.complete) return;
      const bool met = 1 - point.total().missed_share() >= plan_.wanted_share;
      (met ? low : high) = rate;
      if (met) report_.highest_rate = rate;
      rate = high == 0 ? 2 * rate : (low + high) / 2;
      if (rate < 0.1 || rate > 1e6) return;
    }
  }

  const Plan& plan_;
  Target& target_;
  const StopSign& stop_;
  const Progress& progress_;
  Report report_;
};

}  // namespace

bool Report::valid() const {
  return std::all_of(points.begin(), points.end(), [](const Point& one) { return one.valid(); });
}

Report Measure(const Plan& plan, Target& target, const StopSign& stop, const Progress& progress) {
  return Session(plan, target, stop, progress).Run();
}

}  // namespace spatialmamba::loadgen
