#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

namespace spatialmamba::loadgen {

// Counts whole numbers in log-linear buckets, so that every value is known to three significant
// digits: exactly below 2048, to one part in 1024 above. Memory grows with the largest value.
class Histogram {
 public:
  // Below zero counts as zero, above the largest (2^40) as the largest.
  void Record(int64_t value);
  void Merge(const Histogram& other);

  int64_t count() const { return count_; }
  int64_t min() const { return count_ == 0 ? 0 : min_; }
  int64_t max() const { return max_; }
  double mean() const;
  double standard_deviation() const;

  // The smallest value that at least `share` (0 to 1) of all are not above, to the histogram's
  // precision; never above max(). Zero if nothing was recorded.
  int64_t Quantile(double share) const;

  // The percentile distribution in the text format that HdrHistogram's plotters read: five lines
  // for every halving of the distance to 100 %. Values are divided by `unit`.
  void WritePercentiles(double unit, std::ostream& out) const;

 private:
  std::vector<int64_t> buckets_;
  int64_t count_ = 0;
  int64_t min_ = 0;
  int64_t max_ = 0;
  double sum_ = 0.0;
  double sum_of_squares_ = 0.0;
};

}  // namespace spatialmamba::loadgen
