#include "model/ops/box_decode.h"

#include <cmath>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "tests/model/ops/golden_input.h"

namespace spatialmamba {
namespace {

TEST(AnchorBoxes, EqualTheOracle) {
  const oracle::Golden golden = oracle::ReadGolden("anchors");
  const nlohmann::json& facts = golden.facts["case"];
  const auto width = facts["width"].get<int64_t>();
  std::vector<int64_t> indices(
      static_cast<size_t>(facts["height"].get<int64_t>() * width * kAnchorsPerPixel));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  std::vector<Box> boxes(indices.size());
  AnchorBoxes(indices, width, facts["stride"].get<int64_t>(), boxes);
  EXPECT_EQ(oracle::LargestError(golden, "boxes", Coordinates(boxes)), 0);
}

TEST(DecodeBoxes, EqualTheOracle) {
  const oracle::Golden golden = oracle::ReadGolden("decode");
  const nlohmann::json& size = golden.facts["case"]["size"];
  const std::vector<Box> boxes = GoldenBoxes(golden);
  const std::vector<float> deltas = GoldenInput(golden, "deltas");
  const auto count = static_cast<int64_t>(boxes.size());
  std::vector<Box> out(boxes.size());
  DecodeBoxes(boxes, {deltas.data(), count, 4, 4}, {},
              {size[0].get<int64_t>(), size[1].get<int64_t>()}, out);
  EXPECT_LE(oracle::LargestError(golden, "boxes", Coordinates(out)), 2e-5);
}

TEST(DecodeBoxes, ScalesDeltasAndClipsToThePicture) {
  const Box box{10, 10, 30, 20};
  const float deltas[] = {5, 10, 5 * std::log(2.0F), 100};
  std::vector<Box> out(1);
  DecodeBoxes({&box, 1}, {deltas, 1, 4, 4}, {.centre = 0.1F, .extent = 0.2F}, {25, 1000}, out);
  EXPECT_FLOAT_EQ(out[0].left, 10);  // centre 20 + 0.5 * 20, width 2 * 20
  EXPECT_FLOAT_EQ(out[0].right, 50);
  EXPECT_EQ(out[0].top, 0);  // stretched as far as it goes
  EXPECT_EQ(out[0].bottom, 25);
}

TEST(DecodeBoxes, RefusesSizesThatDoNotFit) {
  std::vector<Box> boxes(2);
  const float deltas[8] = {};
  EXPECT_THROW(DecodeBoxes(boxes, {deltas, 1, 4, 4}, {}, {1, 1}, boxes), std::invalid_argument);
  EXPECT_THROW(DecodeBoxes(boxes, {deltas, 2, 3, 4}, {}, {1, 1}, boxes), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
