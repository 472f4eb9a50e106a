#include "model/tasks/mask_polygons.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using Rows = std::vector<std::string>;  // '#' is set

RunLengths FromRows(const Rows& rows) {
  RunLengths mask{.height = static_cast<int64_t>(rows.size()),
                  .width = static_cast<int64_t>(rows[0].size()),
                  .counts = {0}};
  bool set = false;
  for (size_t x = 0; x < rows[0].size(); ++x) {
    for (const std::string& row : rows) {
      if ((row[x] == '#') != set) {
        set = !set;
        mask.counts.push_back(0);
      }
      ++mask.counts.back();
    }
  }
  return mask;
}

// Pixels whose centre is inside of any of the polygons.
Rows Filled(const std::vector<MaskPolygon>& polygons, size_t height, size_t width) {
  Rows rows(height, std::string(width, '.'));
  for (const MaskPolygon& polygon : polygons) {
    std::vector<std::vector<bool>> inside(height, std::vector<bool>(width));
    for (size_t i = 0; i < polygon.corners.size(); ++i) {
      const auto& a = polygon.corners[i];
      const auto& b = polygon.corners[(i + 1) % polygon.corners.size()];
      EXPECT_NE(a.x == b.x, a.y == b.y) << "an edge is upright or level";
      if (a.x != b.x) continue;
      for (int64_t y = std::min(a.y, b.y); y < std::max(a.y, b.y); ++y) {
        for (size_t x = static_cast<size_t>(a.x); x < width; ++x) {
          inside[static_cast<size_t>(y)][x] = !inside[static_cast<size_t>(y)][x];
        }
      }
    }
    for (size_t y = 0; y < height; ++y) {
      for (size_t x = 0; x < width; ++x) {
        if (inside[y][x]) rows[y][x] = '#';
      }
    }
  }
  return rows;
}

// The mask with everything set that cannot be left by steps to the side, up or down or aslant.
Rows WithoutHoles(const Rows& rows) {
  const auto height = static_cast<int64_t>(rows.size());
  const auto width = static_cast<int64_t>(rows[0].size());
  std::vector<std::pair<int64_t, int64_t>> outside = {{-1, -1}};
  std::vector<std::vector<bool>> reached(rows.size() + 2, std::vector<bool>(rows[0].size() + 2));
  reached[0][0] = true;
  while (!outside.empty()) {
    const auto [y, x] = outside.back();
    outside.pop_back();
    for (int64_t ny = y - 1; ny <= y + 1; ++ny) {
      for (int64_t nx = x - 1; nx <= x + 1; ++nx) {
        if (ny < -1 || nx < -1 || ny > height || nx > width) continue;
        if (reached[size_t(ny + 1)][size_t(nx + 1)]) continue;
        const bool within = ny >= 0 && nx >= 0 && ny < height && nx < width;
        if (within && rows[size_t(ny)][size_t(nx)] == '#') continue;
        reached[size_t(ny + 1)][size_t(nx + 1)] = true;
        outside.emplace_back(ny, nx);
      }
    }
  }
  Rows filled = rows;
  for (size_t y = 0; y < rows.size(); ++y) {
    for (size_t x = 0; x < rows[0].size(); ++x) {
      if (!reached[y + 1][x + 1]) filled[y][x] = '#';
    }
  }
  return filled;
}

TEST(MaskPolygons, AnEmptyMaskHasNone) {
  EXPECT_TRUE(ToPolygons(FromRows({"...", "..."})).empty());
}

TEST(MaskPolygons, APixelIsASquareWithItsCornersClockwise) {
  const std::vector<MaskPolygon> polygons = ToPolygons(FromRows({"...", "..#"}));
  ASSERT_EQ(polygons.size(), 1U);
  EXPECT_EQ(polygons[0].corners,
            (std::vector<MaskPolygon::Corner>{{2, 1}, {3, 1}, {3, 2}, {2, 2}}));
}

TEST(MaskPolygons, AWholePictureIsARectangle) {
  const std::vector<MaskPolygon> polygons = ToPolygons(FromRows(Rows(5, "#######")));
  ASSERT_EQ(polygons.size(), 1U);
  EXPECT_EQ(polygons[0].corners,
            (std::vector<MaskPolygon::Corner>{{0, 0}, {7, 0}, {7, 5}, {0, 5}}));
}

TEST(MaskPolygons, PixelsThatTouchAtACornerAreTwoParts) {
  EXPECT_EQ(ToPolygons(FromRows({"#.", ".#"})).size(), 2U);
  EXPECT_EQ(ToPolygons(FromRows({".#", "#."})).size(), 2U);
}

TEST(MaskPolygons, HolesAreFilled) {
  const Rows ring = {".....", ".###.", ".#.#.", ".###.", "....."};
  const std::vector<MaskPolygon> polygons = ToPolygons(FromRows(ring));
  EXPECT_EQ(polygons.size(), 1U);
  EXPECT_EQ(Filled(polygons, 5, 5), WithoutHoles(ring));
}

TEST(MaskPolygons, FilledTheyAreTheMaskWithItsHolesFilled) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const size_t height = 1 + random() % 12;
    const size_t width = 1 + random() % 12;
    const auto density = random() % 10;
    Rows rows(height, std::string(width, '.'));
    for (std::string& row : rows) {
      for (char& pixel : row) pixel = random() % 10 < density ? '#' : '.';
    }
    const Rows filled = Filled(ToPolygons(FromRows(rows)), height, width);
    // A hole that touches the outside at a corner only is open: its pixels may be set or not.
    const Rows closed = WithoutHoles(rows);
    for (size_t y = 0; y < height; ++y) {
      for (size_t x = 0; x < width; ++x) {
        if (rows[y][x] == '#' || closed[y][x] == '#') {
          EXPECT_EQ(filled[y][x], '#') << round << ": " << y << ", " << x;
        }
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba
