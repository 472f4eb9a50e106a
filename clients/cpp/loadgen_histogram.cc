#include "clients/cpp/loadgen_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdio>

namespace spatialmamba::loadgen {
namespace {

constexpr int kLinearBits = 11;  // values of up to 11 bits have a bucket each
constexpr int64_t kLinear = int64_t{1} << kLinearBits;
constexpr int64_t kHalf = kLinear / 2;  // buckets of each doubling above
constexpr int64_t kLargest = int64_t{1} << 40;

size_t BucketOf(int64_t value) {
  const auto bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(value)));
  const int shift = bits - kLinearBits;
  if (shift <= 0) {
    return static_cast<size_t>(value);
  }
  return static_cast<size_t>(kLinear + (shift - 1) * kHalf + (value >> shift) - kHalf);
}

int64_t LargestOf(size_t bucket) {
  const auto index = static_cast<int64_t>(bucket);
  if (index < kLinear) {
    return index;
  }
  const int64_t shift = (index - kLinear) / kHalf + 1;
  const int64_t leading = (index - kLinear) % kHalf + kHalf;
  return ((leading + 1) << shift) - 1;
}

void WriteLine(double value, double share, int64_t count, std::ostream& out) {
  char line[96];
  if (share < 1.0) {
    std::snprintf(line, sizeof line, "%12.3f %14.12f %10lld %14.2f\n", value, share,
                  static_cast<long long>(count), 1.0 / (1.0 - share));
  } else {
    std::snprintf(line, sizeof line, "%12.3f %14.12f %10lld\n", value, share,
                  static_cast<long long>(count));
  }
  out << line;
}

}  // namespace

void Histogram::Record(int64_t value) {
  value = std::clamp(value, int64_t{0}, kLargest);
  const size_t bucket = BucketOf(value);
  if (bucket >= buckets_.size()) {
    buckets_.resize(bucket + 1);
  }
  ++buckets_[bucket];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  ++count_;
  const auto number = static_cast<double>(value);
  sum_ += number;
  sum_of_squares_ += number * number;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) {
    return;
  }
  buckets_.resize(std::max(buckets_.size(), other.buckets_.size()));
  for (size_t i = 0; i < other.buckets_.size(); ++i) {
    buckets_[i] += other.buckets_[i];
  }
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  count_ += other.count_;
  sum_ += other.sum_;
  sum_of_squares_ += other.sum_of_squares_;
}

double Histogram::mean() const { return count_ == 0 ? 0.0 : sum_ / static_cast<double>(count_); }

double Histogram::standard_deviation() const {
  if (count_ == 0) {
    return 0.0;
  }
  const double variance = sum_of_squares_ / static_cast<double>(count_) - mean() * mean();
  return std::sqrt(std::max(variance, 0.0));
}

int64_t Histogram::Quantile(double share) const {
  // The small term keeps .99 of 100 from becoming the hundredth by rounding.
  const double exact = share * static_cast<double>(count_);
  const int64_t rank = std::max<int64_t>(1, std::llround(std::ceil(exact - 1e-9 * exact)));
  int64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) {
      return std::min(LargestOf(i), max_);
    }
  }
  return max_;
}

void Histogram::WritePercentiles(double unit, std::ostream& out) const {
  constexpr double kTicksPerHalving = 5.0;
  out << "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
  double share = 0.0;
  int64_t seen = 0;
  for (size_t i = 0; i < buckets_.size() && count_ > 0; ++i) {
    if (buckets_[i] == 0) {
      continue;
    }
    seen += buckets_[i];
    const double value = static_cast<double>(std::min(LargestOf(i), max_)) / unit;
    if (seen == count_) {
      WriteLine(value, 1.0, seen, out);
      break;
    }
    const double reached = static_cast<double>(seen) / static_cast<double>(count_);
    while (share <= reached) {
      WriteLine(value, share, seen, out);
      const double halvings = std::floor(-std::log2(1.0 - share)) + 1.0;
      share += 1.0 / (kTicksPerHalving * std::exp2(halvings));
    }
  }
  char footer[256];
  std::snprintf(footer, sizeof footer,
                "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n"
                "#[Max     = %12.3f, Total count    = %12lld]\n"
                "#[Buckets = %12d, SubBuckets     = %12lld]\n",
                mean() / unit, standard_deviation() / unit, static_cast<double>(max_) / unit,
                static_cast<long long>(count_), 40 - kLinearBits + 1,
                static_cast<long long>(kLinear));
  out << footer;
}

}  // namespace spatialmamba::loadgen
