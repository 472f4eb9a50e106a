#include "model/tasks/classify.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <string>

namespace spatialmamba {

std::vector<ClassScore> TopClasses(std::span<const float> logits, int64_t count) {
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) {
      throw std::domain_error("the logit of class " + std::to_string(i) +
                              " is not a finite number: the weights or the input are broken");
    }
  }
  const auto kept = std::min(static_cast<size_t>(std::max<int64_t>(count, 0)), logits.size());
  std::vector<ClassScore> classes(kept);
  if (kept == 0) {
    return classes;
  }
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
      [&](size_t a, size_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  // Relative to the largest logit, so that no exponential overflows.
  const double largest = logits[order.front()];
  double total = 0;
  for (const float logit : logits) {
    total += std::exp(static_cast<double>(logit) - largest);
  }
  for (size_t i = 0; i < kept; ++i) {
    const float logit = logits[order[i]];
    classes[i] = {
        .index = static_cast<int64_t>(order[i]),
        .probability = static_cast<float>(std::exp(static_cast<double>(logit) - largest) / total),
        .logit = logit};
  }
  return classes;
}

}  // namespace spatialmamba
