#include "batching/fair_share.h"

#include <algorithm>
#include <cmath>

namespace spatialmamba {
namespace {

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// Demand is an average over this long, with falling weight.
constexpr double kMemory = 3;      // seconds
constexpr double kShortest = 0.2;  // seconds; of a party that has just come
// Requests come at random: of a window, their mean and so many standard deviations (of a Poisson
// process) are kept.
constexpr double kDeviations = 2;
constexpr Duration kForgotten = std::chrono::seconds(20);
constexpr Duration kCleaning = std::chrono::seconds(5);
constexpr double kNothing = 1e-9;

}  // namespace

bool FairShare::Active(const Party& party, TimePoint now) {
  return party.held > kNothing || (party.offered > 0 && now - party.seen < kForgotten);
}

double FairShare::DemandOf(const Party& party, TimePoint now) {
  const double age = std::max(kShortest, Seconds(now - party.first_seen));
  // The weights of all that could have been offered since the party came sum up to this.
  const double seconds = kMemory * (1 - std::exp(-age / kMemory));
  return party.offered * std::exp(-Seconds(now - party.seen) / kMemory) / seconds;
}

void FairShare::Offer(uint64_t party, Duration work, TimePoint now) {
  Forget(now);
  const auto [at, is_new] = parties_.try_emplace(party);
  Party& one = at->second;
  if (is_new) one.first_seen = now;
  if (!is_new) one.offered *= std::exp(-Seconds(now - one.seen) / kMemory);
  one.offered += Seconds(work);
  one.request = Seconds(work);
  one.seen = now;
}

void FairShare::Hold(uint64_t party, Duration work) { parties_[party].held += Seconds(work); }

void FairShare::Release(uint64_t party, Duration work) {
  const auto found = parties_.find(party);
  if (found == parties_.end()) return;
  found->second.held = std::max(0.0, found->second.held - Seconds(work));
}

double FairShare::Demand(TimePoint now) const {
  double demand = 0;
  for (const auto& [id, party] : parties_) demand += DemandOf(party, now);
  return demand;
}

Duration FairShare::Reserved(uint64_t party, Duration work, Duration window, int devices,
                             TimePoint now) const {
  const double whole = Seconds(window) * devices;
  const auto own = parties_.find(party);
  const size_t others = parties_.size() - (own == parties_.end() ? 0 : 1);
  if (others == 0 || whole <= 0) return Duration::zero();
  const double part = whole / static_cast<double>(others + 1);
  const double held = own == parties_.end() ? 0 : own->second.held;
  if (held + Seconds(work) <= part) return Duration::zero();
  double reserved = 0;
  for (const auto& [id, other] : parties_) {
    if (id == party || !Active(other, now)) continue;
    const double mean = DemandOf(other, now) * Seconds(window);
    const double wanted = mean + kDeviations * std::sqrt(mean * other.request);
    reserved += std::max(0.0, std::min(wanted, part) - other.held);
  }
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(reserved));
}

// Parties that are gone would otherwise be kept for ever.
void FairShare::Forget(TimePoint now) {
  if (now < next_cleaning_) return;
  next_cleaning_ = now + kCleaning;
  std::erase_if(parties_, [&](const auto& party) { return !Active(party.second, now); });
}

}  // namespace spatialmamba
