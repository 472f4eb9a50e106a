#include "server/load_meter.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "xds/data/orca/v3/orca_load_report.pb.h"

namespace spatialmamba {
namespace {

constexpr double kFadingSeconds = 5;

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

void LoadMeter::Rate::Add(double amount, TimePoint now) {
  sum = sum * std::exp(-Seconds(now - at) / kFadingSeconds) + amount;
  at = now;
}

double LoadMeter::Rate::Value(TimePoint now, TimePoint begun) const {
  if (sum == 0) return 0;
  const double faded = sum * std::exp(-Seconds(now - at) / kFadingSeconds);
  // Less than the time constant's worth has been seen in the beginning.
  const double seen = kFadingSeconds * -std::expm1(-Seconds(now - begun) / kFadingSeconds);
  return faded / std::max(seen, 1e-3);
}

void LoadMeter::CountBusy(Duration busy) {
  const TimePoint now = clock_.Now();
  const std::lock_guard lock(mutex_);
  busy_.Add(Seconds(busy), now);
}

void LoadMeter::CountRequest(bool failed) {
  const TimePoint now = clock_.Now();
  const std::lock_guard lock(mutex_);
  requests_.Add(1, now);
  if (failed) errors_.Add(1, now);
}

std::string LoadMeter::Report() const {
  const TimePoint now = clock_.Now();
  xds::data::orca::v3::OrcaLoadReport report;
  {
    const std::lock_guard lock(mutex_);
    report.set_application_utilization(busy_.Value(now, begun_) / devices_);
    report.set_rps_fractional(requests_.Value(now, begun_));
    report.set_eps(errors_.Value(now, begun_));
  }
  return report.SerializeAsString();
}

}  // namespace spatialmamba
