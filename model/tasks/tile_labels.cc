#include "model/tasks/tile_labels.h"

#include <algorithm>
#include <limits>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>

#include "model/ops/two_step_axis.h"

namespace spatialmamba {

struct TileLabels::Placed {
  Tile tile;
  SegmentOutput output;
  std::vector<TwoStepSample> rows;  // of the tile's pixels, into its logits
  std::vector<TwoStepSample> columns;
};

namespace {

// How much a tile counts at a pixel of an axis: falls over `ramp` pixels towards an edge behind
// which the picture goes on.
float Weight(int64_t pixel, int64_t start, int64_t tile, int64_t length, int64_t ramp) {
  float weight = 1;
  const auto reach = static_cast<float>(std::max<int64_t>(1, ramp));
  if (start > 0) weight = std::min(weight, (static_cast<float>(pixel - start) + 0.5F) / reach);
  if (start + tile < length) {
    weight = std::min(weight, (static_cast<float>(start + tile - pixel) - 0.5F) / reach);
  }
  return weight;
}

// into += weight * from, over the channels of one or more neighbouring cells.
void AddScaled(std::span<const float> from, float weight, std::span<float> into) {
  for (size_t i = 0; i < into.size(); ++i) into[i] += weight * from[i];
}

uint16_t Largest(std::span<const float> logits) {
  return static_cast<uint16_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

std::vector<TileLabels::Segment> TileLabels::Segments(const std::vector<int64_t>& positions,
                                                      int64_t tile, int64_t length) {
  std::set<int64_t> edges = {0, length};
  for (const int64_t position : positions) {
    edges.insert(position);
    edges.insert(std::min(length, position + tile));
  }
  std::vector<Segment> segments;
  for (auto from = edges.begin(), to = std::next(from); to != edges.end(); ++from, ++to) {
    // Positions rise, so those that see the segment are neighbours.
    const auto first = std::upper_bound(positions.begin(), positions.end(), *from - tile);
    const auto last = std::upper_bound(positions.begin(), positions.end(), *from);
    segments.push_back({*from, *to, first - positions.begin(), last - positions.begin() - 1});
  }
  return segments;
}

TileLabels::TileLabels(const PixelSize& picture, const TileOptions& options, int64_t classes)
    : picture_(picture),
      options_(options),
      classes_(classes),
      tops_(TilePositions(picture.height, options)),
      lefts_(TilePositions(picture.width, options)),
      tiles_(TilePicture(picture, options)),
      row_segments_(Segments(tops_, tiles_[0].height, picture.height)),
      column_segments_(Segments(lefts_, tiles_[0].width, picture.width)),
      labels_(static_cast<size_t>(picture.height * picture.width)),
      placed_(tiles_.size()),
      unfinished_(tiles_.size()) {
  if (classes < 1 || classes > int64_t{std::numeric_limits<uint16_t>::max()} + 1) {
    throw std::invalid_argument("TileLabels: 1 to 65536 classes");
  }
  for (const Segment& rows : row_segments_) {
    for (const Segment& columns : column_segments_) {
      const int64_t tiles = (rows.last - rows.first + 1) * (columns.last - columns.first + 1);
      zones_.push_back({&rows, &columns, tiles});
      for (int64_t row = rows.first; row <= rows.last; ++row) {
        for (int64_t column = columns.first; column <= columns.last; ++column) {
          ++unfinished_[static_cast<size_t>(row) * lefts_.size() + static_cast<size_t>(column)];
        }
      }
    }
  }
  unwritten_ = static_cast<int64_t>(zones_.size());
}

bool TileLabels::Add(int64_t index, SegmentOutput output) {
  const Tile& tile = tiles_.at(static_cast<size_t>(index));
  const PixelSize& cells = output.logits_size;
  if (static_cast<int64_t>(output.labels.size()) != tile.height * tile.width || cells.height < 1 ||
      cells.width < 1 ||
      static_cast<int64_t>(output.logits.size()) != cells.height * cells.width * classes_) {
    throw std::invalid_argument("TileLabels: the output is not that of the tile, with logits");
  }
  auto rows = TwoStepAxis(cells.height, output.input.height, tile.height);
  auto columns = TwoStepAxis(cells.width, output.input.width, tile.width);
  const auto placed = std::make_shared<const Placed>(
      Placed{tile, std::move(output), std::move(rows), std::move(columns)});
  const std::vector<ReadyZone> ready = Register(index, placed);
  for (const ReadyZone& one : ready) one.tiles.size() == 1 ? Copy(one) : Blend(one);
  const std::lock_guard lock(mutex_);
  unwritten_ -= static_cast<int64_t>(ready.size());
  return unwritten_ == 0 && !ready.empty();
}

std::vector<TileLabels::ReadyZone> TileLabels::Register(int64_t index,
                                                        std::shared_ptr<const Placed> placed) {
  const auto columns = static_cast<int64_t>(lefts_.size());
  const int64_t own_row = index / columns;
  const int64_t own_column = index % columns;
  const std::lock_guard lock(mutex_);
  placed_[static_cast<size_t>(index)] = std::move(placed);
  std::vector<ReadyZone> ready;
  for (Zone& zone : zones_) {
    const Segment& rows = *zone.rows;
    const Segment& cols = *zone.columns;
    if (own_row < rows.first || own_row > rows.last || own_column < cols.first ||
        own_column > cols.last || --zone.missing > 0) {
      continue;
    }
    ReadyZone one{.zone = &zone, .tiles = {}};
    for (int64_t row = rows.first; row <= rows.last; ++row) {
      for (int64_t column = cols.first; column <= cols.last; ++column) {
        const auto tile = static_cast<size_t>(row * columns + column);
        one.tiles.push_back(placed_[tile]);
        if (--unfinished_[tile] == 0) placed_[tile].reset();
      }
    }
    ready.push_back(std::move(one));
  }
  return ready;
}

void TileLabels::Copy(const ReadyZone& ready) {
  const Placed& placed = *ready.tiles[0];
  const Segment& columns = *ready.zone->columns;
  for (int64_t y = ready.zone->rows->from; y < ready.zone->rows->to; ++y) {
    const uint16_t* from = placed.output.labels.data() + (y - placed.tile.top) * placed.tile.width +
                           columns.from - placed.tile.left;
    std::copy_n(from, columns.to - columns.from,
                labels_.data() + y * picture_.width + columns.from);
  }
}

void TileLabels::Blend(const ReadyZone& ready) {
  const Segment& columns = *ready.zone->columns;
  const auto classes = static_cast<size_t>(classes_);
  const auto width = static_cast<size_t>(columns.to - columns.from);
  std::vector<float> blended(width * classes);  // of one row
  std::vector<float> cells;                     // a tile's logits between two of its rows
  for (int64_t y = ready.zone->rows->from; y < ready.zone->rows->to; ++y) {
    std::fill(blended.begin(), blended.end(), 0.0F);
    for (const std::shared_ptr<const Placed>& placed : ready.tiles) {
      const Tile& tile = placed->tile;
      const float row_weight = Weight(y, tile.top, tile.height, picture_.height, options_.overlap);
      const TwoStepSample& row = placed->rows[static_cast<size_t>(y - tile.top)];
      const TwoStepSample* at = placed->columns.data() + columns.from - tile.left;
      const int64_t across = placed->output.logits_size.width;
      const int64_t first = at[0].first;
      const int64_t end = std::min(across, at[width - 1].first + TwoStepSample::kTaps);
      cells.assign(static_cast<size_t>(end - first) * classes, 0.0F);
      for (int64_t tap = 0; tap < TwoStepSample::kTaps; ++tap) {
        const float weight = row.weights[static_cast<size_t>(tap)];
        if (weight == 0) continue;
        const float* from =
            placed->output.logits.data() + ((row.first + tap) * across + first) * classes_;
        AddScaled({from, cells.size()}, weight, cells);
      }
      for (size_t x = 0; x < width; ++x) {
        const float weight = row_weight * Weight(columns.from + static_cast<int64_t>(x), tile.left,
                                                 tile.width, picture_.width, options_.overlap);
        const std::span<float> into = std::span(blended).subspan(x * classes, classes);
        for (int64_t tap = 0; tap < TwoStepSample::kTaps; ++tap) {
          const float part = at[x].weights[static_cast<size_t>(tap)];
          if (part == 0) continue;
          const auto cell = static_cast<size_t>(at[x].first + tap - first);
          AddScaled(std::span<const float>(cells).subspan(cell * classes, classes), weight * part,
                    into);
        }
      }
    }
    uint16_t* out = labels_.data() + y * picture_.width + columns.from;
    for (size_t x = 0; x < width; ++x) {
      out[x] = Largest(std::span<const float>(blended).subspan(x * classes, classes));
    }
  }
}

std::vector<int64_t> TileLabels::CountPixels() const {
  std::vector<int64_t> pixels(static_cast<size_t>(classes_));
  for (const uint16_t label : labels_) ++pixels[label];
  return pixels;
}

}  // namespace spatialmamba
