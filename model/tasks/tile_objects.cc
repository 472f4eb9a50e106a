#include "model/tasks/tile_objects.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "model/ops/nms.h"
#include "model/tasks/placed_mask.h"

namespace spatialmamba {
namespace {

// An object as its tile sees it, in pixels of the picture.
struct View {
  size_t tile = 0;
  Box box;
  float score = 0;
  int64_t label = 0;
  std::optional<PlacedMask> mask;
  bool whole = false;  // not cut by an inner edge of its tile
};

// What both tiles see; without pixels if they do not overlap.
Tile Shared(const Tile& a, const Tile& b) {
  const int64_t top = std::max(a.top, b.top);
  const int64_t left = std::max(a.left, b.left);
  return {.top = top,
          .left = left,
          .height = std::max<int64_t>(0, std::min(a.top + a.height, b.top + b.height) - top),
          .width = std::max<int64_t>(0, std::min(a.left + a.width, b.left + b.width) - left)};
}

bool HasPixels(const Tile& region) { return region.height > 0 && region.width > 0; }

// Boxes of objects that an edge cuts end near it, not exactly on it.
bool IsWhole(const Box& box, const Tile& tile, const PixelSize& picture) {
  constexpr float kMargin = 3;
  const auto height = static_cast<float>(tile.height);
  const auto width = static_cast<float>(tile.width);
  return (tile.top == 0 || box.top >= kMargin) && (tile.left == 0 || box.left >= kMargin) &&
         (tile.top + tile.height == picture.height || box.bottom <= height - kMargin) &&
         (tile.left + tile.width == picture.width || box.right <= width - kMargin);
}

View MakeView(const DetectedObject& object, size_t index, const Tile& tile,
              const PixelSize& picture) {
  const auto x = static_cast<float>(tile.left);
  const auto y = static_cast<float>(tile.top);
  const Box& box = object.box;
  View view{.tile = index,
            .box = {box.left + x, box.top + y, box.right + x, box.bottom + y},
            .score = object.score,
            .label = object.label,
            .mask = std::nullopt,
            .whole = IsWhole(box, tile, picture)};
  if (object.mask) view.mask.emplace(*object.mask, tile);
  return view;
}

Box ClippedTo(const Box& box, const Tile& region) {
  const auto left = static_cast<float>(region.left);
  const auto top = static_cast<float>(region.top);
  return {std::max(box.left, left), std::max(box.top, top),
          std::min(box.right, left + static_cast<float>(region.width)),
          std::min(box.bottom, top + static_cast<float>(region.height))};
}

double Area(const Box& box) {
  return static_cast<double>(std::max(0.0F, box.right - box.left)) *
         std::max(0.0F, box.bottom - box.top);
}

// Intersection over union, counting only what is in the region.
double Agreement(const View& a, const View& b, const Tile& region) {
  const Box ours = ClippedTo(a.box, region);
  const Box theirs = ClippedTo(b.box, region);
  const double shared_box =
      Area({std::max(ours.left, theirs.left), std::max(ours.top, theirs.top),
            std::min(ours.right, theirs.right), std::min(ours.bottom, theirs.bottom)});
  if (shared_box <= 0) return 0;
  if (!a.mask || !b.mask) return shared_box / (Area(ours) + Area(theirs) - shared_box);
  const auto shared = static_cast<double>(a.mask->SharedIn(*b.mask, region));
  const auto all = static_cast<double>(a.mask->AreaIn(region) + b.mask->AreaIn(region)) - shared;
  return all > 0 ? shared / all : 0;
}

// Views that show one object.
using Group = std::vector<size_t>;

class Grouping {
 public:
  Grouping(const std::vector<View>& views, std::span<const TileObjects> tiles, double agreement)
      : views_(views), tiles_(tiles), agreement_(agreement), placed_(tiles.size()) {}

  // Views come best first.
  void Place(size_t index) {
    const View& view = views_[index];
    std::vector<std::pair<double, size_t>> agreeing;  // and the group
    for (size_t tile = 0; tile < tiles_.size(); ++tile) {
      if (tile == view.tile || placed_[tile].empty()) continue;
      const Tile region = Shared(tiles_[tile].tile, tiles_[view.tile].tile);
      if (!HasPixels(region)) continue;
      for (const size_t other : placed_[tile]) {
        if (views_[other].label != view.label) continue;
        const double value = Agreement(view, views_[other], region);
        if (value >= agreement_) agreeing.emplace_back(-value, group_of_[other]);
      }
    }
    std::sort(agreeing.begin(), agreeing.end());
    size_t own = groups_.size();
    groups_.push_back({index});
    for (const auto& [value, group] : agreeing) {
      // The one that was made first takes the other in.
      if (group == own || groups_[group].empty() || !Disjoint(groups_[own], groups_[group])) {
        continue;
      }
      const auto [into, from] = std::minmax(own, group);
      groups_[into].insert(groups_[into].end(), groups_[from].begin(), groups_[from].end());
      for (const size_t member : groups_[from]) group_of_[member] = into;
      groups_[from].clear();
      own = into;
    }
    group_of_[index] = own;
    placed_[view.tile].push_back(index);
  }

  void Reserve(size_t views) { group_of_.resize(views); }
  const std::vector<Group>& groups() const { return groups_; }

 private:
  // No tile has a view in both.
  bool Disjoint(const Group& a, const Group& b) const {
    for (const size_t one : a) {
      for (const size_t other : b) {
        if (views_[one].tile == views_[other].tile) return false;
      }
    }
    return true;
  }

  const std::vector<View>& views_;
  const std::span<const TileObjects> tiles_;
  const double agreement_;
  std::vector<std::vector<size_t>> placed_;  // views by tile
  std::vector<size_t> group_of_;             // by view
  std::vector<Group> groups_;                // empty: went into another
};

DetectedObject Merged(const Group& group, const std::vector<View>& views,
                      const PixelSize& picture) {
  const auto better = [&](size_t a, size_t b) {
    return std::tuple(views[a].whole, views[a].score, b) <
           std::tuple(views[b].whole, views[b].score, a);
  };
  const View& best = views[*std::max_element(group.begin(), group.end(), better)];
  Box box = best.box;
  std::optional<PlacedMask> mask = best.mask;
  float score = best.score;
  for (const size_t member : group) {
    const View& view = views[member];
    score = std::max(score, view.score);
    if (best.whole || &view == &best) continue;
    box = {std::min(box.left, view.box.left), std::min(box.top, view.box.top),
           std::max(box.right, view.box.right), std::max(box.bottom, view.box.bottom)};
    if (mask && view.mask) mask = mask->Union(*view.mask);
  }
  DetectedObject object{.box = box, .score = score, .label = best.label, .mask = std::nullopt};
  if (mask) object.mask = mask->InPicture(picture);
  return object;
}

}  // namespace

std::vector<DetectedObject> MergeTileObjects(std::span<const TileObjects> tiles,
                                             const PixelSize& picture,
                                             const MergeOptions& options) {
  std::vector<View> views;
  for (size_t tile = 0; tile < tiles.size(); ++tile) {
    for (const DetectedObject& object : tiles[tile].objects) {
      views.push_back(MakeView(object, tile, tiles[tile].tile, picture));
    }
  }
  std::vector<size_t> order(views.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return views[a].score > views[b].score; });
  Grouping grouping(views, tiles, options.agreement);
  grouping.Reserve(views.size());
  for (const size_t index : order) grouping.Place(index);

  std::vector<DetectedObject> objects;
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<int64_t> labels;
  for (const Group& group : grouping.groups()) {
    if (group.empty()) continue;
    objects.push_back(Merged(group, views, picture));
    boxes.push_back(objects.back().box);
    scores.push_back(objects.back().score);
    labels.push_back(objects.back().label);
  }
  std::vector<DetectedObject> kept;
  for (const int64_t index :
       Nms(boxes, scores, labels, {.overlap = options.nms_overlap, .limit = options.limit})) {
    kept.push_back(std::move(objects[static_cast<size_t>(index)]));
  }
  return kept;
}

}  // namespace spatialmamba
