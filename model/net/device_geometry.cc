#include "model/net/device_geometry.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "model/ops/device_arena.h"
#include "model/ops/row_items.h"

namespace spatialmamba {
namespace {

// No kernel walks over the tiles of the input or of the stem's map.
constexpr size_t kFirstTiledLevel = 2;

// Enough pieces for every multiprocessor of a large device to have several.
constexpr int64_t kEnoughTiles = 512;

struct TileShape {
  int rows;
  int columns;
};

constexpr TileShape kTileShapes[] = {{16, 16}, {8, 16}, {4, 16}, {4, 8}, {2, 8}, {1, 8}};

int64_t CountTiles(std::span<const Span> spans, const TileShape& shape) {
  int64_t tiles = 0;
  for (const Span& span : spans) {
    tiles += ((span.height + shape.rows - 1) / shape.rows) *
             ((span.width + shape.columns - 1) / shape.columns);
  }
  return tiles;
}

TileShape ChooseTiles(std::span<const Span> spans) {
  for (const TileShape& shape : kTileShapes) {
    if (CountTiles(spans, shape) >= kEnoughTiles) return shape;
  }
  return *std::rbegin(kTileShapes);
}

void CheckSpans(std::span<const Span> spans) {
  int64_t tokens = 0;
  for (const Span& span : spans) {
    if (span.height < 1 || span.width < 1 || span.offset != tokens) {
      throw std::invalid_argument("DeviceGeometry: images must have pixels and lie back to back");
    }
    // The dense convolutions keep a map's width in 22 bits.
    if (span.width >= int64_t{1} << 22) {
      throw std::invalid_argument(
          "DeviceGeometry: an image is wider than 4194303 pixels, the most that "
          "the GPU kernels take");
    }
    tokens += span.tokens();
  }
  if (spans.empty()) throw std::invalid_argument("DeviceGeometry: a batch without images");
  // Kernels index bytes of a level's widest map in 64 bits, tokens in 32.
  if (tokens > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("DeviceGeometry: more than 2^31 pixels in a batch");
  }
}

size_t LevelBytes(const DeviceCapacity& capacity, size_t level) {
  return DeviceArena::RoundUp(kDeviceCounts * sizeof(int)) +
         DeviceArena::RoundUp(static_cast<size_t>(capacity.images) * sizeof(DeviceSpan)) +
         DeviceArena::RoundUp(static_cast<size_t>(capacity.tiles[level]) * sizeof(DeviceTile));
}

size_t TotalBytes(const DeviceCapacity& capacity) {
  size_t bytes = 0;
  for (size_t i = 0; i < kDeviceLevels; ++i) bytes += LevelBytes(capacity, i);
  return bytes;
}

}  // namespace

DeviceCapacity DeviceCapacity::Of(std::span<const Span> images) {
  CheckSpans(images);
  DeviceCapacity capacity;
  capacity.images = static_cast<int>(images.size());
  SpanList spans(images.begin(), images.end());
  for (size_t i = 0; i < kDeviceLevels; ++i) {
    if (i > 0) spans = Halved(spans);
    capacity.tokens[i] = static_cast<int>(TotalTokens(spans));
    if (i < kFirstTiledLevel) continue;
    const TileShape shape = ChooseTiles(spans);
    capacity.tiles[i] = static_cast<int>(CountTiles(spans, shape));
    capacity.tile_rows[i] = shape.rows;
    capacity.tile_columns[i] = shape.columns;
  }
  return capacity;
}

DeviceGeometry::DeviceGeometry(const DeviceCapacity& capacity)
    : capacity_(capacity), staging_(TotalBytes(capacity)), memory_(TotalBytes(capacity)) {
  auto* at = static_cast<char*>(memory_.data());
  const auto take = [&at](size_t bytes) {
    char* taken = at;
    at += DeviceArena::RoundUp(bytes);
    return taken;
  };
  for (size_t i = 0; i < kDeviceLevels; ++i) {
    DeviceLevel& level = levels_[i];
    level.images = capacity.images;
    level.tokens = capacity.tokens[i];
    level.tile_count = capacity.tiles[i];
    level.tile_rows = capacity.tile_rows[i];
    level.tile_columns = capacity.tile_columns[i];
    level.counts = reinterpret_cast<int*>(take(kDeviceCounts * sizeof(int)));
    level.spans =
        reinterpret_cast<DeviceSpan*>(take(static_cast<size_t>(level.images) * sizeof(DeviceSpan)));
    level.tiles = reinterpret_cast<DeviceTile*>(
        take(static_cast<size_t>(level.tile_count) * sizeof(DeviceTile)));
  }
}

bool DeviceGeometry::Holds(std::span<const Span> images) const {
  if (images.size() > static_cast<size_t>(capacity_.images)) return false;
  SpanList spans(images.begin(), images.end());
  for (size_t i = 0; i < kDeviceLevels; ++i) {
    if (i > 0) spans = Halved(spans);
    if (TotalTokens(spans) > capacity_.tokens[i]) return false;
    if (i < kFirstTiledLevel) continue;
    const TileShape shape{capacity_.tile_rows[i], capacity_.tile_columns[i]};
    if (CountTiles(spans, shape) > capacity_.tiles[i]) return false;
  }
  return true;
}

void DeviceGeometry::Fill(std::span<const Span> images, CUstream_st* stream) {
  CheckSpans(images);
  if (!Holds(images)) {
    throw std::invalid_argument("DeviceGeometry: a batch is larger than its capacity");
  }
  auto* host = static_cast<char*>(staging_.data());
  const auto host_address = [&](const void* device) {
    return host + (static_cast<const char*>(device) - static_cast<char*>(memory_.data()));
  };
  SpanList spans(images.begin(), images.end());
  for (size_t i = 0; i < kDeviceLevels; ++i) {
    if (i > 0) spans = Halved(spans);
    const DeviceLevel& level = levels_[i];
    auto* counts = reinterpret_cast<int*>(host_address(level.counts));
    auto* span_list = reinterpret_cast<DeviceSpan*>(host_address(level.spans));
    auto* tiles = reinterpret_cast<DeviceTile*>(host_address(level.tiles));
    int tile_count = 0;
    for (size_t image = 0; image < spans.size(); ++image) {
      const Span& span = spans[image];
      const auto height = static_cast<int>(span.height);
      const auto width = static_cast<int>(span.width);
      span_list[image] = {static_cast<int>(span.offset), height, width};
      if (i < kFirstTiledLevel) continue;
      for (int row = 0; row < height; row += level.tile_rows) {
        for (int column = 0; column < width; column += level.tile_columns) {
          tiles[tile_count++] = {static_cast<int>(image), row, column};
        }
      }
    }
    counts[kImageCount] = static_cast<int>(spans.size());
    counts[kTokenCount] = static_cast<int>(TotalTokens(spans));
    counts[kTileCount] = tile_count;
  }
  CopyToDevice(memory_.data(), staging_.data(), memory_.bytes(), stream);
}

}  // namespace spatialmamba
