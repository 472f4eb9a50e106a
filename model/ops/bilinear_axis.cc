#include "model/ops/bilinear_axis.h"

#include <algorithm>
#include <stdexcept>

namespace spatialmamba {

std::vector<BilinearSample> BilinearAxis(int64_t from, int64_t to) {
  if (from < 1 || to < 1) throw std::invalid_argument("BilinearAxis: an axis has no pixels");
  std::vector<BilinearSample> samples(static_cast<size_t>(to));
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  for (int64_t i = 0; i < to; ++i) {
    const float centre = scale * (static_cast<float>(i) + 0.5F);
    const float position = std::max(centre - 0.5F, 0.0F);
    const int64_t low = std::min(static_cast<int64_t>(position), from - 1);
    samples[static_cast<size_t>(i)] = {low, std::min(low + 1, from - 1),
                                       std::clamp(position - static_cast<float>(low), 0.0F, 1.0F)};
  }
  return samples;
}

}  // namespace spatialmamba
