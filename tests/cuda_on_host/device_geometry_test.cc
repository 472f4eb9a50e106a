#include "model/net/device_geometry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

namespace spatialmamba {
namespace {

std::vector<Span> BackToBack(const std::vector<std::pair<int64_t, int64_t>>& sizes) {
  std::vector<Span> spans;
  int64_t offset = 0;
  for (const auto& [height, width] : sizes) {
    spans.push_back({offset, height, width});
    offset += height * width;
  }
  return spans;
}

template <typename T>
std::vector<T> OnHost(const T* device, int count) {
  std::vector<T> values(static_cast<size_t>(count));
  CopyToHost(values.data(), device, values.size() * sizeof(T), nullptr);
  return values;
}

TEST(DeviceGeometry, EveryTokenIsInExactlyOneTile) {
  const std::vector<Span> spans = BackToBack({{97, 131}, {1, 1}, {64, 500}});
  const CudaStream stream;
  DeviceGeometry geometry(DeviceCapacity::Of(spans));
  geometry.Fill(spans, stream.get());
  Synchronize(stream.get());
  for (size_t i = 2; i < kDeviceLevels; ++i) {
    const DeviceLevel& level = geometry.level(i);
    const std::vector<int> counts = OnHost(level.counts, kDeviceCounts);
    const std::vector<DeviceSpan> images = OnHost(level.spans, counts[kImageCount]);
    std::vector<int> times(static_cast<size_t>(counts[kTokenCount]));
    for (const DeviceTile& tile : OnHost(level.tiles, counts[kTileCount])) {
      const DeviceSpan& span = images[static_cast<size_t>(tile.image)];
      for (int y = tile.row; y < std::min(tile.row + level.tile_rows, span.height); ++y) {
        for (int x = tile.column; x < std::min(tile.column + level.tile_columns, span.width); ++x) {
          ++times[static_cast<size_t>(span.offset + y * span.width + x)];
        }
      }
    }
    EXPECT_EQ(times, std::vector<int>(times.size(), 1)) << "level " << i;
  }
}

TEST(DeviceGeometry, HoldsWhatIsNoLargerAtAnyResolution) {
  const DeviceGeometry geometry(DeviceCapacity::Of(BackToBack({{64, 64}, {64, 64}})));
  EXPECT_TRUE(geometry.Holds(BackToBack({{64, 64}})));
  EXPECT_TRUE(geometry.Holds(BackToBack({{64, 64}, {30, 64}})));
  EXPECT_FALSE(geometry.Holds(BackToBack({{64, 64}, {65, 64}})));
  EXPECT_FALSE(geometry.Holds(BackToBack({{1, 1}, {1, 1}, {1, 1}})));
  // Fewer pixels, but more of them at a quarter of the resolution.
  EXPECT_FALSE(geometry.Holds(BackToBack({{1, 8000}})));
}

TEST(DeviceGeometry, RefusesWhatItCannotNumber) {
  EXPECT_THROW(DeviceCapacity::Of(std::vector<Span>()), std::invalid_argument);
  EXPECT_THROW(DeviceCapacity::Of(BackToBack({{0, 5}})), std::invalid_argument);
  EXPECT_THROW(DeviceCapacity::Of(BackToBack({{1, int64_t{1} << 22}})), std::invalid_argument);
  EXPECT_NO_THROW(DeviceCapacity::Of(BackToBack({{1, (int64_t{1} << 22) - 1}})));
  EXPECT_THROW(DeviceCapacity::Of(BackToBack({{int64_t{1} << 20, 1 << 11}})),
               std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
