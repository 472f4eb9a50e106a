#include "model/ops/two_step_axis.h"

#include <algorithm>
#include <stdexcept>

#include "model/ops/bilinear_axis.h"

namespace spatialmamba {

std::vector<TwoStepSample> TwoStepAxis(int64_t from, int64_t between, int64_t to) {
  if (from > between) throw std::invalid_argument("TwoStepAxis: the first step must not shrink");
  const std::vector<BilinearSample> inner = BilinearAxis(from, between);
  const std::vector<BilinearSample> outer = BilinearAxis(between, to);
  std::vector<TwoStepSample> axis;
  for (const BilinearSample& sample : outer) {
    TwoStepSample taps{.first = inner[static_cast<size_t>(sample.low)].low};
    const auto add = [&](int64_t position, float share) {
      const BilinearSample& at = inner[static_cast<size_t>(position)];
      taps.weights[static_cast<size_t>(at.low - taps.first)] += share * (1.0F - at.weight);
      taps.weights[static_cast<size_t>(at.high - taps.first)] += share * at.weight;
    };
    add(sample.low, 1.0F - sample.weight);
    add(sample.high, sample.weight);
    axis.push_back(taps);
  }
  return axis;
}

int64_t TapsUsed(const std::vector<TwoStepSample>& axis) {
  int64_t used = 1;
  for (const TwoStepSample& sample : axis) {
    for (int64_t j = used; j < TwoStepSample::kTaps; ++j) {
      if (sample.weights[static_cast<size_t>(j)] != 0) used = j + 1;
    }
  }
  return used;
}

}  // namespace spatialmamba
