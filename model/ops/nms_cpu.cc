#include <algorithm>

#include "model/ops/nms_params.h"

namespace spatialmamba {
namespace {

// Marks those of [first, last) that the box at `best` suppresses. The comparison is made in double
// precision, where the threshold has its exact value.
void Suppress(const NmsParams& p, int64_t best, int64_t first, int64_t last) {
  // Local copies: a store through `suppressed` could alias the fields of p, and nothing would be
  // vectorised.
  const float* const lefts = p.left;
  const float* const tops = p.top;
  const float* const rights = p.right;
  const float* const bottoms = p.bottom;
  uint8_t* const suppressed = p.suppressed;
  const double threshold = p.overlap;
  const float left = lefts[best];
  const float top = tops[best];
  const float right = rights[best];
  const float bottom = bottoms[best];
  const float area = (right - left) * (bottom - top);
  for (int64_t i = first; i < last; ++i) {
    const float width = std::max(0.0F, std::min(right, rights[i]) - std::max(left, lefts[i]));
    const float height = std::max(0.0F, std::min(bottom, bottoms[i]) - std::max(top, tops[i]));
    const float common = width * height;
    const float other = (rights[i] - lefts[i]) * (bottoms[i] - tops[i]);
    const float overlap = common / (area + other - common);
    suppressed[i] |= static_cast<uint8_t>(static_cast<double>(overlap) > threshold);
  }
}

}  // namespace

int64_t NmsCpu(const NmsParams& p) {
  int64_t kept = 0;
  for (int64_t i = 0; i < p.count && kept < p.limit; ++i) {
    const int64_t position = p.order[i];
    if (p.suppressed[position] != 0) continue;
    p.kept[kept++] = position;
    Suppress(p, position, position + 1, p.group_end[position]);
  }
  return kept;
}

}  // namespace spatialmamba
