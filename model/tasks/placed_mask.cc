#include "model/tasks/placed_mask.h"

#include <algorithm>
#include <stdexcept>
#include <tuple>

namespace spatialmamba {
namespace {

// How many of [top, bottom) lie in the rows of the region.
int64_t Clipped(int64_t top, int64_t bottom, const Tile& region) {
  const int64_t from = std::max(top, region.top);
  const int64_t to = std::min(bottom, region.top + region.height);
  return std::max<int64_t>(0, to - from);
}

bool HasColumn(const Tile& region, int64_t column) {
  return column >= region.left && column < region.left + region.width;
}

}  // namespace

PlacedMask::PlacedMask(const RunLengths& mask, const Tile& tile) {
  if (mask.height != tile.height || mask.width != tile.width) {
    throw std::invalid_argument("a mask is not of its tile's size");
  }
  int64_t at = 0;
  bool set = false;
  for (const int64_t count : mask.counts) {
    const int64_t end = at + count;
    while (set && at < end) {  // a run may go on in the next column
      const int64_t column = at / mask.height;
      const int64_t stop = std::min(end, (column + 1) * mask.height);
      runs_.push_back({tile.left + column, tile.top + at - column * mask.height,
                       tile.top + stop - column * mask.height});
      at = stop;
    }
    at = end;
    set = !set;
  }
}

int64_t PlacedMask::AreaIn(const Tile& region) const {
  int64_t area = 0;
  for (const Run& run : runs_) {
    if (HasColumn(region, run.column)) area += Clipped(run.top, run.bottom, region);
  }
  return area;
}

int64_t PlacedMask::SharedIn(const PlacedMask& other, const Tile& region) const {
  int64_t area = 0;
  auto theirs = other.runs_.begin();
  for (const Run& run : runs_) {
    if (!HasColumn(region, run.column)) continue;
    // Runs of theirs that end before this one begins cannot meet a later one of ours either.
    while (theirs != other.runs_.end() &&
           std::tie(theirs->column, theirs->bottom) <= std::tie(run.column, run.top)) {
      ++theirs;
    }
    for (auto it = theirs;
         it != other.runs_.end() && it->column == run.column && it->top < run.bottom; ++it) {
      area += Clipped(std::max(run.top, it->top), std::min(run.bottom, it->bottom), region);
    }
  }
  return area;
}

PlacedMask PlacedMask::Union(const PlacedMask& other) const {
  std::vector<Run> all(runs_.size() + other.runs_.size());
  std::merge(runs_.begin(), runs_.end(), other.runs_.begin(), other.runs_.end(), all.begin(),
             [](const Run& a, const Run& b) {
               return std::tie(a.column, a.top) < std::tie(b.column, b.top);
             });
  PlacedMask merged;
  for (const Run& run : all) {
    if (!merged.runs_.empty() && merged.runs_.back().column == run.column &&
        run.top <= merged.runs_.back().bottom) {
      merged.runs_.back().bottom = std::max(merged.runs_.back().bottom, run.bottom);
    } else {
      merged.runs_.push_back(run);
    }
  }
  return merged;
}

RunLengths PlacedMask::InPicture(const PixelSize& picture) const {
  RunLengths mask{.height = picture.height, .width = picture.width, .counts = {}};
  int64_t end = 0;  // of the last set run
  for (const Run& run : runs_) {
    if (run.column < 0 || run.column >= picture.width || run.top < 0 ||
        run.bottom > picture.height) {
      throw std::invalid_argument("a mask lies beyond its picture");
    }
    const int64_t from = run.column * picture.height + run.top;
    if (from == end && !mask.counts.empty()) {
      mask.counts.back() += run.bottom - run.top;  // goes on from the column before
    } else {
      mask.counts.push_back(from - end);
      mask.counts.push_back(run.bottom - run.top);
    }
    end = from + run.bottom - run.top;
  }
  const int64_t rest = picture.height * picture.width - end;
  if (rest > 0 || mask.counts.empty()) mask.counts.push_back(rest);
  return mask;
}

}  // namespace spatialmamba
