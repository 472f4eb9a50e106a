#include "clients/cpp/loadgen_schedule.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

namespace spatialmamba::loadgen {
namespace {

// The standard's distributions differ between libraries, its engine does not.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Bits() { return engine_(); }
  double Uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  // [0, 1)
  double Exponential(double rate) { return -std::log1p(-Uniform()) / rate; }

 private:
  std::mt19937_64 engine_;
};

Nanos FromSeconds(double seconds) { return Nanos(std::llround(seconds * 1e9)); }
double Seconds(Nanos duration) { return std::chrono::duration<double>(duration).count(); }

std::vector<Nanos> DrawPoisson(double rate, double length, uint64_t seed) {
  Random random(seed);
  std::vector<Nanos> instants;
  for (double at = random.Exponential(rate); at < length; at += random.Exponential(rate)) {
    instants.push_back(FromSeconds(at));
  }
  return instants;
}

std::vector<Nanos> DrawConstant(double rate, double length) {
  std::vector<Nanos> instants;
  for (int64_t i = 0; static_cast<double>(i) < length * rate; ++i) {
    instants.push_back(FromSeconds(static_cast<double>(i) / rate));
  }
  return instants;
}

// Poisson arrivals in a time that runs only during bursts, laid out on the real one.
std::vector<Nanos> DrawBursts(const Arrivals& arrivals, double length, uint64_t seed) {
  const double on = Seconds(arrivals.burst_on);
  const double period = on + Seconds(arrivals.burst_off);
  const double rate = arrivals.rate * period / on;
  std::vector<Nanos> instants;
  for (const Nanos drawn : DrawPoisson(rate, length * on / period + on, seed)) {
    const double burst = std::floor(Seconds(drawn) / on);
    const double at = burst * period + (Seconds(drawn) - burst * on);
    if (at < length) {
      instants.push_back(FromSeconds(at));
    }
  }
  return instants;
}

size_t DrawEntry(const std::vector<MixEntry>& mix, double uniform) {
  double total = 0.0;
  for (const MixEntry& entry : mix) {
    total += entry.weight;
  }
  double left = uniform * total;
  for (size_t i = 0; i + 1 < mix.size(); ++i) {
    left -= mix[i].weight;
    if (left < 0.0) {
      return i;
    }
  }
  return mix.size() - 1;
}

}  // namespace

const char* ArrivalName(ArrivalKind kind) {
  constexpr std::array<const char*, 4> kNames = {"poisson", "constant", "bursts", "recorded"};
  return kNames[static_cast<size_t>(kind)];
}

std::vector<Nanos> DrawArrivals(const Arrivals& arrivals, Nanos length, uint64_t seed) {
  switch (arrivals.kind) {
    case ArrivalKind::kPoisson:
      return DrawPoisson(arrivals.rate, Seconds(length), seed);
    case ArrivalKind::kConstant:
      return DrawConstant(arrivals.rate, Seconds(length));
    case ArrivalKind::kBursts:
      return DrawBursts(arrivals, Seconds(length), seed);
    case ArrivalKind::kRecorded:
      break;
  }
  const auto end = std::ranges::lower_bound(arrivals.recorded, length);
  return {arrivals.recorded.begin(), end};
}

std::vector<Shot> DrawSchedule(const Arrivals& arrivals, const std::vector<MixEntry>& mix,
                               Nanos length, uint64_t seed) {
  constexpr uint64_t kOtherStream = 0x9E3779B97F4A7C15U;
  Random random(seed ^ kOtherStream);
  std::vector<Shot> shots;
  for (const Nanos at : DrawArrivals(arrivals, length, seed)) {
    const size_t entry = DrawEntry(mix, random.Uniform());
    const uint64_t pick = random.Bits();
    const bool cancel = random.Uniform() < mix[entry].cancel_share;
    shots.push_back({.at = at, .entry = entry, .pick = pick, .cancel = cancel});
  }
  return shots;
}

absl::StatusOr<std::vector<Nanos>> ParseOffsets(std::string_view text) {
  std::vector<Nanos> offsets;
  int64_t number = 0;
  for (const absl::string_view whole :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(whole);
    if (line.empty() || line.front() == '#') {
      continue;
    }
    double seconds = 0.0;
    constexpr double kDay = 86400.0;
    if (!absl::SimpleAtod(line, &seconds) || !(std::abs(seconds) <= 1e5 * kDay)) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": must be an offset in seconds, not ", line));
    }
    offsets.push_back(FromSeconds(seconds));
  }
  if (offsets.empty()) {
    return absl::InvalidArgumentError("there are no offsets");
  }
  std::ranges::sort(offsets);
  const Nanos first = offsets.front();
  for (Nanos& offset : offsets) {
    offset -= first;
  }
  return offsets;
}

absl::StatusOr<std::vector<Nanos>> ReadOffsets(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  if (!stream || (stream.peek() != EOF && !(content << stream.rdbuf()))) {
    return absl::NotFoundError(absl::StrCat(file, ": the recorded arrivals cannot be read"));
  }
  auto offsets = ParseOffsets(content.str());
  if (!offsets.ok()) {
    return absl::Status(offsets.status().code(),
                        absl::StrCat(file, ": ", offsets.status().message()));
  }
  return offsets;
}

}  // namespace spatialmamba::loadgen
