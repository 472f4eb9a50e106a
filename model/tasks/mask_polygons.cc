#include "model/tasks/mask_polygons.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace spatialmamba {
namespace {

using Corner = MaskPolygon::Corner;

// The part of a mask that has set pixels.
class Crop {
 public:
  explicit Crop(const RunLengths& mask) {
    Bound(mask);
    if (empty()) return;
    set_.resize(static_cast<size_t>(width_ * height_));
    seen_.resize(set_.size());
    ForRuns(mask, [&](int64_t x, int64_t y, int64_t end) {
      for (; y < end; ++y) set_[At(x - left_, y - top_)] = true;
    });
  }

  bool empty() const { return width_ <= 0; }
  int64_t left() const { return left_; }
  int64_t top() const { return top_; }
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }

  // Of the crop; nothing outside is set.
  bool IsSet(int64_t x, int64_t y) const {
    return x >= 0 && y >= 0 && x < width_ && y < height_ && set_[At(x, y)];
  }
  // Whether the upper edge of this pixel was followed.
  bool IsSeen(int64_t x, int64_t y) const { return seen_[At(x, y)]; }
  void SetSeen(int64_t x, int64_t y) { seen_[At(x, y)] = true; }

 private:
  size_t At(int64_t x, int64_t y) const { return static_cast<size_t>(y * width_ + x); }

  // Calls run(x, y, end of y) for the set part of each column's runs.
  template <typename Run>
  static void ForRuns(const RunLengths& mask, const Run& run) {
    int64_t at = 0;
    for (size_t i = 0; i < mask.counts.size(); ++i) {
      const int64_t end = at + mask.counts[i];
      while (i % 2 == 1 && at < end) {
        const int64_t x = at / mask.height;
        const int64_t last = std::min(end, (x + 1) * mask.height);
        run(x, at - x * mask.height, last - x * mask.height);
        at = last;
      }
      at = end;
    }
  }

  void Bound(const RunLengths& mask) {
    int64_t right = 0;
    int64_t bottom = 0;
    left_ = mask.width;
    top_ = mask.height;
    ForRuns(mask, [&](int64_t x, int64_t y, int64_t end) {
      left_ = std::min(left_, x);
      right = std::max(right, x + 1);
      top_ = std::min(top_, y);
      bottom = std::max(bottom, end);
    });
    width_ = right - left_;
    height_ = bottom - top_;
  }

  int64_t left_ = 0;
  int64_t top_ = 0;
  int64_t width_ = 0;
  int64_t height_ = 0;
  std::vector<bool> set_;
  std::vector<bool> seen_;
};

// East, south, west, north.
constexpr std::array<Corner, 4> kSteps = {{{1, 0}, {0, 1}, {-1, 0}, {0, -1}}};
// The pixel on the right hand ahead of a corner, by direction; the one on the left hand is that of
// the direction before.
constexpr std::array<Corner, 4> kRightAhead = {{{0, 0}, {-1, 0}, {-1, -1}, {0, -1}}};

// Follows a border with set pixels on the right hand, from the upper left corner of a pixel whose
// upper edge is part of it.
std::vector<Corner> Follow(Crop& crop, Corner at) {
  std::vector<Corner> corners;
  const Corner first = at;
  size_t direction = 0;
  do {
    if (corners.empty()) corners.push_back(at);
    if (direction == 0) crop.SetSeen(at.x, at.y);
    at = {at.x + kSteps[direction].x, at.y + kSteps[direction].y};
    const Corner& right = kRightAhead[direction];
    const Corner& left = kRightAhead[(direction + 3) % 4];
    size_t next = direction;
    if (!crop.IsSet(at.x + right.x, at.y + right.y)) {
      next = (direction + 1) % 4;
    } else if (crop.IsSet(at.x + left.x, at.y + left.y)) {
      next = (direction + 3) % 4;
    }
    if (next != direction && (at != first || next != 0)) corners.push_back(at);
    direction = next;
  } while (at != first || direction != 0);
  return corners;
}

// Above zero for an outer border, below for that of a hole.
int64_t TwiceTheArea(const std::vector<Corner>& corners) {
  int64_t area = 0;
  for (size_t i = 0; i < corners.size(); ++i) {
    const Corner& a = corners[i];
    const Corner& b = corners[(i + 1) % corners.size()];
    area += a.x * b.y - b.x * a.y;
  }
  return area;
}

}  // namespace

std::vector<MaskPolygon> ToPolygons(const RunLengths& mask) {
  std::vector<MaskPolygon> polygons;
  Crop crop(mask);
  if (crop.empty()) return polygons;
  for (int64_t y = 0; y < crop.height(); ++y) {
    for (int64_t x = 0; x < crop.width(); ++x) {
      if (!crop.IsSet(x, y) || crop.IsSet(x, y - 1) || crop.IsSeen(x, y)) continue;
      std::vector<Corner> corners = Follow(crop, {x, y});
      if (TwiceTheArea(corners) < 0) continue;
      for (Corner& corner : corners) corner = {corner.x + crop.left(), corner.y + crop.top()};
      polygons.push_back({std::move(corners)});
    }
  }
  return polygons;
}

}  // namespace spatialmamba
