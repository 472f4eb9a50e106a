#include "model/ops/nms.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "model/ops/nms_params.h"

namespace spatialmamba {
namespace {

struct Sorted {
  std::vector<int64_t> by_score;      // indices of boxes, best first
  std::vector<int64_t> by_group;      // the same, group by group
  std::vector<int64_t> position;      // of by_score[i] in by_group
  std::vector<int64_t> end_of_group;  // for every position in by_group
};

void Check(std::span<const Box> boxes, std::span<const float> scores,
           std::span<const int64_t> groups) {
  if (boxes.size() != scores.size() || boxes.size() != groups.size()) {
    throw std::invalid_argument("Nms: sizes differ");
  }
  for (size_t i = 0; i < boxes.size(); ++i) {
    const Box& box = boxes[i];
    if (!(std::min({box.left, box.top, box.right, box.bottom}) >= 0) || std::isnan(scores[i]) ||
        groups[i] < 0) {
      throw std::invalid_argument(
          "Nms: coordinates and groups must not be negative, scores must be numbers");
    }
  }
}

Sorted Sort(std::span<const float> scores, std::span<const int64_t> groups) {
  Sorted sorted;
  sorted.by_score.resize(scores.size());
  std::iota(sorted.by_score.begin(), sorted.by_score.end(), int64_t{0});
  const auto at = [](auto values, int64_t i) { return values[static_cast<size_t>(i)]; };
  std::sort(sorted.by_score.begin(), sorted.by_score.end(), [&](int64_t a, int64_t b) {
    const float left = at(scores, a);
    const float right = at(scores, b);
    return left != right ? left > right : a < b;
  });
  // Positions within by_score first: what a stable sort by group makes of them is by_group.
  std::vector<int64_t> ranks(scores.size());
  std::iota(ranks.begin(), ranks.end(), int64_t{0});
  const auto group_of = [&](int64_t rank) {
    return at(groups, sorted.by_score[static_cast<size_t>(rank)]);
  };
  std::stable_sort(ranks.begin(), ranks.end(),
                   [&](int64_t a, int64_t b) { return group_of(a) < group_of(b); });
  sorted.by_group.resize(ranks.size());
  sorted.position.resize(ranks.size());
  sorted.end_of_group.resize(ranks.size());
  for (size_t i = 0; i < ranks.size(); ++i) {
    sorted.by_group[i] = sorted.by_score[static_cast<size_t>(ranks[i])];
    sorted.position[static_cast<size_t>(ranks[i])] = static_cast<int64_t>(i);
  }
  for (size_t i = ranks.size(); i-- > 0;) {
    const bool last = i + 1 == ranks.size() || group_of(ranks[i]) != group_of(ranks[i + 1]);
    sorted.end_of_group[i] = last ? static_cast<int64_t>(i) + 1 : sorted.end_of_group[i + 1];
  }
  return sorted;
}

float LargestCoordinate(std::span<const Box> boxes) {
  float largest = 0;
  for (const Box& box : boxes) {
    largest = std::max({largest, box.left, box.top, box.right, box.bottom});
  }
  return largest;
}

}  // namespace

std::vector<int64_t> Nms(std::span<const Box> boxes, std::span<const float> scores,
                         std::span<const int64_t> groups, const NmsOptions& options) {
  Check(boxes, scores, groups);
  const size_t count = boxes.size();
  const auto limit = std::min(static_cast<int64_t>(count), options.limit);
  if (limit < 1) return {};
  const Sorted sorted = Sort(scores, groups);
  const float step = LargestCoordinate(boxes) + 1.0F;
  std::vector<float> left(count);
  std::vector<float> top(count);
  std::vector<float> right(count);
  std::vector<float> bottom(count);
  for (size_t i = 0; i < count; ++i) {
    const auto index = static_cast<size_t>(sorted.by_group[i]);
    const float shift = static_cast<float>(groups[index]) * step;
    left[i] = boxes[index].left + shift;
    top[i] = boxes[index].top + shift;
    right[i] = boxes[index].right + shift;
    bottom[i] = boxes[index].bottom + shift;
  }
  std::vector<uint8_t> suppressed(count);
  std::vector<int64_t> kept(static_cast<size_t>(limit));
  const NmsParams params{.left = left.data(),
                         .top = top.data(),
                         .right = right.data(),
                         .bottom = bottom.data(),
                         .count = static_cast<int64_t>(count),
                         .order = sorted.position.data(),
                         .group_end = sorted.end_of_group.data(),
                         .overlap = options.overlap,
                         .limit = limit,
                         .suppressed = suppressed.data(),
                         .kept = kept.data()};
  kept.resize(static_cast<size_t>(NmsCpu(params)));
  for (int64_t& position : kept) position = sorted.by_group[static_cast<size_t>(position)];
  return kept;
}

}  // namespace spatialmamba
