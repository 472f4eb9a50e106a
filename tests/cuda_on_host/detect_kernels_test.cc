// The kernels of Mask R-CNN's maps against the CPU's ops, on small ragged batches.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "model/net/roi_levels.h"
#include "model/ops/roi_align.h"
#include "model/runtime/pool_context.h"
#include "tests/model/ops/ops_fixture.h"

// After the standard headers, which use names that these define.
#include "model/ops/mask_logits_cuda.h"
#include "model/ops/pyramid_cuda.h"
#include "model/ops/roi_align_cuda.h"
#include "tests/cuda_on_host/detect_lists.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

using Shapes = std::vector<std::pair<int, int>>;

template <typename T>
class DetectKernels : public testing::Test {};
using Types = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(DetectKernels, Types);

const Shapes kFine = {{1, 1}, {7, 5}, {8, 18}, {13, 3}};
const Shapes kCoarse = {{1, 1}, {4, 3}, {4, 9}, {7, 2}};

TYPED_TEST(DetectKernels, PyramidsAreResizedByWholePixels) {
  for (const int channels : {8, 40}) {
    const RaggedLevel fine(kFine);
    const RaggedLevel coarse(kCoarse);
    TestMap<TypeParam> small(coarse.tokens(), channels, -2, 2, 1, 1);
    TestMap<TypeParam> large(fine.tokens(), channels, -2, 2, 2);
    TestMap<TypeParam> enlarged(fine.tokens(), channels);
    TestMap<TypeParam> thin(coarse.tokens(), channels, 1);
    EXPECT_TRUE(SameInEveryOrder(enlarged, [&] {
      EnlargeCuda(small.map(), coarse.level(), fine.level(), enlarged.map(), nullptr);
    }));
    EXPECT_TRUE(SameInEveryOrder(
        thin, [&] { ThinCuda(large.map(), fine.level(), coarse.level(), thin.map(), nullptr); }));
    for (size_t image = 0; image < kFine.size(); ++image) {
      const DeviceSpan& to = fine.spans()[image];
      const DeviceSpan& from = coarse.spans()[image];
      for (int i = 0; i < to.height * to.width; ++i) {
        const int row = i / to.width;
        const int column = i % to.width;
        const int above = from.offset + row / 2 * from.width + column / 2;
        EXPECT_TRUE(enlarged.Contains(to.offset + i, small, above));
        if (row % 2 == 0 && column % 2 == 0) {
          EXPECT_TRUE(thin.Contains(above, large, to.offset + i));
        }
      }
    }
  }
}

// Boxes of every size and place for pictures that small, some partly or wholly outside.
std::vector<Box> RoiBoxes() {
  std::vector<Box> boxes = {
      {0, 0, 3, 2},         {10, 10, 10, 30},        {5, 5, 5, 5},     {-50, -20, -10, -5},
      {0, 0, 40, 28},       {0, 1, 1100, 3},         {2, 0, 4, 1300},  {30, 20, 300, 290},
      {-30, -30, 600, 500}, {100, 100, 101, 100.5F}, {0, 0, 112, 112}, {7.3F, 1.9F, 60.1F, 44.4F}};
  std::mt19937 generator(5);
  std::uniform_real_distribution<float> uniform(-8, 160);
  for (int i = 0; i < 20; ++i) {
    const float left = uniform(generator);
    const float top = uniform(generator);
    boxes.push_back({left, top, left + std::abs(uniform(generator)), top + 20});
  }
  return boxes;
}

template <typename T>
class RoiBatch {
 public:
  RoiBatch(int channels, int extra) : channels_(channels) {
    Shapes shapes = {{30, 29}, {3, 290}, {330, 5}};
    for (int i = 0; i < kRoiLevels; ++i) {
      levels_.push_back(std::make_unique<RaggedLevel>(shapes));
      maps_.emplace_back(levels_.back()->tokens(), channels, -2, 2, static_cast<unsigned>(i),
                         extra);
      for (auto& [height, width] : shapes) {
        height = (height + 1) / 2;
        width = (width + 1) / 2;
      }
    }
    for (const Box& box : RoiBoxes()) {
      for (int image = 0; image < 3; ++image) {
        boxes_.push_back(OnDevice(box));
        images_.push_back(image);
      }
    }
  }

  int rois() const { return static_cast<int>(boxes_.size()); }

  // All boxes, in two pieces.
  void Run(int cells, TestMap<T>& out) {
    const int piece = rois() * 2 / 3;
    std::vector<int> counts = {piece, 0, 0, rois() - piece, 0, 0};
    DeviceRoiAlign align;
    for (int i = 0; i < kRoiLevels; ++i) {
      align.maps[i] = maps_[static_cast<size_t>(i)].map();
      align.levels[i] = levels_[static_cast<size_t>(i)]->level();
      align.strides[i] = 4 << i;
    }
    align.rois = {2 * piece, piece, boxes_.data(), images_.data(), nullptr, nullptr, counts.data()};
    align.cells = cells;
    align.out = out.map();
    RoiAlignCuda(align, nullptr);
    align.piece = 1;
    align.out.data = static_cast<T*>(align.out.data) + piece * cells * cells * channels_;
    RoiAlignCuda(align, nullptr);
  }

  Map OnCpu(int cells) {
    std::vector<Map> maps;
    std::vector<RoiMap> roi_maps;
    for (size_t i = 0; i < kRoiLevels; ++i) {
      Map& map = maps.emplace_back(levels_[i]->tokens(), channels_);
      for (int64_t t = 0; t < map.rows; ++t) {
        for (int c = 0; c < channels_; ++c) {
          map.at(t, c) = static_cast<float>(maps_[i].value(static_cast<int>(t), c));
        }
      }
      for (const DeviceSpan& span : levels_[i]->spans()) {
        roi_maps.push_back({map.view().row(span.offset), map.stride, span.height, span.width,
                            1.0F / static_cast<float>(4 << i)});
      }
    }
    std::vector<Roi> rois;
    for (size_t i = 0; i < boxes_.size(); ++i) {
      const DeviceBox& box = boxes_[i];
      rois.push_back(RoiOf({box.left, box.top, box.right, box.bottom}, images_[i], 3));
    }
    Map out(int64_t{cells} * cells * this->rois(), channels_);
    ThreadPool pool(1);
    PoolContext context(pool);
    RoiAlign(context, roi_maps, rois, cells, out.view());
    return out;
  }

 private:
  int channels_;
  std::vector<std::unique_ptr<RaggedLevel>> levels_;
  std::vector<TestMap<T>> maps_;
  std::vector<DeviceBox> boxes_;
  std::vector<int> images_;
};

TYPED_TEST(DetectKernels, CellsOfBoxesAreThoseOfTheCpu) {
  for (const auto& [cells, channels] :
       std::vector<std::pair<int, int>>{{7, 8}, {14, 8}, {7, 264}}) {
    RoiBatch<TypeParam> batch(channels, 1);
    TestMap<TypeParam> out(batch.rois() * cells * cells, channels);
    batch.Run(cells, out);
    const Map want = batch.OnCpu(cells);
    double largest = 0;
    for (int64_t r = 0; r < want.rows; ++r) {
      for (int c = 0; c < channels; ++c) {
        largest = std::max(
            largest, Error(out.value(static_cast<int>(r), c), static_cast<double>(want.at(r, c))));
      }
    }
    EXPECT_LE(largest, kTolerance<TypeParam>) << cells << ", " << channels;
  }
}

TYPED_TEST(DetectKernels, MasksAreProbabilitiesOfTheOwnClass) {
  constexpr int kSide = 3;
  constexpr int kPixels = kSide * kSide;
  constexpr int kBoxes = 5;
  for (const int channels : {8, 40, 264}) {
    TestMap<TypeParam> doubled(kBoxes * kPixels, 4 * channels, 0, 1, 3, 1);
    const std::vector<float> weights = Random(static_cast<size_t>(3 * channels), -1, 1, 4);
    const std::vector<float> bias = {-0.5F, 0, 0.75F};
    std::vector<int> labels = {-1, -1, -1, -1, -1, -1, 2, 0, 1, 1, 2, -1};
    const std::vector<int> counts = {0, 0, 0, kBoxes, 0, 0};
    std::vector<float> out(12 * 4 * kPixels, kNan);
    DeviceMaskLogits logits;
    logits.doubled = doubled.map();
    logits.side = kSide;
    logits.class_weights = weights.data();
    logits.class_bias = bias.data();
    logits.rois = {
        12, 6, nullptr, nullptr, labels.data(), nullptr, const_cast<int*>(counts.data())};
    logits.piece = 1;
    logits.out = out.data();
    EXPECT_TRUE(SameOfEveryOrder(out, [&] { MaskLogitsCuda(logits, nullptr); }));
    for (int i = 0; i < 12 * 4 * kPixels; ++i) {
      const int roi = i / (4 * kPixels) - 6;
      const float value = out[static_cast<size_t>(i)];
      if (roi < 0 || roi >= kBoxes) {
        EXPECT_TRUE(std::isnan(value)) << i;
        continue;
      }
      const int row = i / (2 * kSide) % (2 * kSide);
      const int column = i % (2 * kSide);
      const int pixel = roi * kPixels + row / 2 * kSide + column / 2;
      const int label = labels[static_cast<size_t>(roi + 6)];
      double logit = static_cast<double>(bias[static_cast<size_t>(label)]);
      for (int c = 0; c < channels; ++c) {
        logit += doubled.value(pixel, (row % 2 * 2 + column % 2) * channels + c) *
                 static_cast<double>(weights[static_cast<size_t>(label * channels + c)]);
      }
      EXPECT_LE(Error(static_cast<double>(value), 1 / (1 + std::exp(-logit))), 1e-5) << i;
    }
  }
}

TEST(DetectMaps, WhatDoesNotFitIsRefused) {
  const RaggedLevel level({{2, 2}});
  TestMap<float> x(4, 8);
  TestMap<float> odd(4, 12);
  EXPECT_THROW(EnlargeCuda(x.map(), level.level(), level.level(), odd.map(), nullptr),
               std::invalid_argument);
  EXPECT_THROW(ThinCuda(odd.map(), level.level(), level.level(), odd.map(), nullptr),
               std::invalid_argument);
  DeviceRoiAlign align;
  align.out.channels = align.out.stride = 8;
  align.rois.capacity = align.rois.piece_capacity = 1;
  align.cells = 5;
  EXPECT_THROW(RoiAlignCuda(align, nullptr), std::invalid_argument);
  EXPECT_THROW(MaskLogitsCuda({}, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
