#include "model/ops/roi_align.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "tests/model/ops/golden_input.h"
#include "tests/model/ops/ops_fixture.h"

namespace spatialmamba {
namespace {

class RoiAlignTest : public OnEveryInstructionSet {
 protected:
  // Cells of `rois` on `maps`, cells * cells rows for each.
  Map Run(const std::vector<RoiMap>& maps, const std::vector<Roi>& rois, int64_t cells,
          int64_t channels, int threads = 2, int64_t gap = 0) {
    ThreadPool pool(threads);
    PoolContext context(pool);
    Map out(static_cast<int64_t>(rois.size()) * cells * cells, channels, gap);
    RoiAlign(context, maps, rois, cells, out.view());
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(, RoiAlignTest, testing::ValuesIn(Float32InstructionSets()), SetName);

RoiMap MapOf(const Map& map, int64_t height, int64_t width, float scale) {
  return {map.values.data(), map.stride, height, width, scale};
}

TEST_P(RoiAlignTest, EqualsTheOracle) {
  const oracle::Golden golden = oracle::ReadGolden("roi_align");
  const nlohmann::json& facts = golden.facts["case"];
  const nlohmann::json& shape = facts["inputs"]["x"]["shape"];
  const auto channels = shape[1].get<int64_t>();
  const auto height = shape[2].get<int64_t>();
  const auto width = shape[3].get<int64_t>();
  const std::vector<float> planes = GoldenInput(golden, "x");
  Map x(height * width, channels, 3);
  for (int64_t t = 0; t < height * width; ++t) {
    for (int64_t c = 0; c < channels; ++c) {
      x.at(t, c) = planes[static_cast<size_t>(c * height * width + t)];
    }
  }
  std::vector<Roi> rois;
  for (const Box& box : GoldenBoxes(golden)) rois.push_back({box, 0});
  const auto cells = facts["out"].get<int64_t>();
  const float scale = 1.0F / facts["stride"].get<float>();
  const Map out = Run({MapOf(x, height, width, scale)}, rois, cells, channels);
  std::vector<float> values;  // [boxes, channels, cells, cells]
  for (size_t i = 0; i < rois.size(); ++i) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t cell = 0; cell < cells * cells; ++cell) {
        values.push_back(out.at(static_cast<int64_t>(i) * cells * cells + cell, c));
      }
    }
  }
  EXPECT_LE(oracle::LargestError(golden, "y", values), 2e-5);
}

// One sample of the map, written out; zero more than a pixel outside.
double Sample(const Map& x, const RoiMap& map, double row, double column, int64_t channel) {
  const auto height = static_cast<double>(map.height);
  const auto width = static_cast<double>(map.width);
  if (row < -1 || row > height || column < -1 || column > width) return 0;
  row = std::clamp(row, 0.0, height - 1);
  column = std::clamp(column, 0.0, width - 1);
  double sum = 0;
  for (int64_t i = 0; i < map.height; ++i) {
    for (int64_t j = 0; j < map.width; ++j) {
      const double down = std::max(0.0, 1 - std::abs(row - static_cast<double>(i)));
      const double across = std::max(0.0, 1 - std::abs(column - static_cast<double>(j)));
      sum += down * across * static_cast<double>(x.at(i * map.width + j, channel));
    }
  }
  return sum;
}

double Cell(const Map& x, const RoiMap& map, const Box& box, int64_t cells, int64_t cell,
            int64_t channel) {
  const auto scale = static_cast<double>(map.scale);
  const double top = static_cast<double>(box.top) * scale - 0.5;
  const double left = static_cast<double>(box.left) * scale - 0.5;
  const double cell_height =
      static_cast<double>(box.bottom - box.top) * scale / static_cast<double>(cells);
  const double cell_width =
      static_cast<double>(box.right - box.left) * scale / static_cast<double>(cells);
  const double rows = std::ceil(cell_height);
  const double columns = std::ceil(cell_width);
  double sum = 0;
  for (double i = 0; i < rows; ++i) {
    for (double j = 0; j < columns; ++j) {
      sum += Sample(
          x, map, top + (static_cast<double>(cell / cells) + (i + 0.5) / rows) * cell_height,
          left + (static_cast<double>(cell % cells) + (j + 0.5) / columns) * cell_width, channel);
    }
  }
  return rows * columns > 0 ? sum / (rows * columns) : 0;
}

TEST_P(RoiAlignTest, EqualsANaiveTwinInDoublePrecision) {
  for (const int64_t channels : {int64_t{1}, int64_t{7}, int64_t{129}}) {
    const Map big = Map::Random(1, 9 * 13, channels, 5);
    const Map small = Map::Random(2, 3 * 1, channels);
    const std::vector<RoiMap> maps = {MapOf(big, 9, 13, 0.25F), MapOf(small, 3, 1, 0.125F)};
    const std::vector<const Map*> sources = {&big, &small};
    const std::vector<Roi> rois = {{{3, 5, 30, 21}, 0}, {{0, 0, 52, 36}, 0}, {{40, 1, 90, 2.5F}, 0},
                                   {{7, 7, 7, 7}, 0},   {{0, 0, 8, 24}, 1},  {{2, 20, 300, 31}, 1}};
    const Map out = Run(maps, rois, 3, channels, 2, 1);
    for (size_t i = 0; i < rois.size(); ++i) {
      const auto map = static_cast<size_t>(rois[i].map);
      for (int64_t cell = 0; cell < 9; ++cell) {
        for (int64_t c = 0; c < channels; c += 5) {
          EXPECT_NEAR(out.at(static_cast<int64_t>(i) * 9 + cell, c),
                      Cell(*sources[map], maps[map], rois[i].box, 3, cell, c), 2e-5)
              << "box " << i << " cell " << cell << " channel " << c;
        }
      }
    }
  }
}

TEST_P(RoiAlignTest, ABoxDoesNotDependOnTheOthersOrTheThreads) {
  const Map x = Map::Random(3, 20 * 20, 40);
  const std::vector<RoiMap> maps = {MapOf(x, 20, 20, 0.5F)};
  std::vector<Roi> rois;
  for (int i = 0; i < 9; ++i) {
    const auto f = static_cast<float>(i);
    rois.push_back({{f, 2 * f, 3 * f + 7, 2 * f + 11.5F}, 0});
  }
  const Map together = Run(maps, rois, 7, 40, 3);
  for (size_t i = 0; i < rois.size(); ++i) {
    const Map alone = Run(maps, {rois[i]}, 7, 40, 1);
    for (int64_t cell = 0; cell < 49; ++cell) {
      EXPECT_TRUE(SameBits(together, static_cast<int64_t>(i) * 49 + cell, alone, cell));
    }
  }
}

TEST(RoiAlign, RefusesWhatDoesNotFit) {
  float scratch[1];
  SerialContext context(scratch);
  Map out(9, 4);
  const std::vector<Roi> rois = {{{0, 0, 1, 1}, 1}};
  const Map x = Map::Random(4, 4, 4);
  const std::vector<RoiMap> maps = {MapOf(x, 2, 2, 1)};
  EXPECT_THROW(RoiAlign(context, maps, rois, 3, out.view()), std::invalid_argument);
  EXPECT_THROW(RoiAlign(context, maps, {}, 3, out.view()), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
