// Labels from logits by the kernel against the CPU's op: equal, whatever the sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "model/ops/bilinear_axis.h"
#include "model/ops/resize_argmax.h"
#include "model/ops/two_step_axis.h"
#include "model/runtime/pool_context.h"
#include "tests/model/ops/resize_reference.h"

// After the standard headers, which use names that these define.
#include "model/ops/bilinear_sample.h"
#include "model/ops/resize_argmax_cuda.h"

namespace spatialmamba {
namespace {

TEST(SegmentSamples, AreThoseOfTheHost) {
  for (const int from : {1, 2, 7, 32, 129, 1000}) {
    for (const int between : {1, 13, 31, 128, 515, 4000}) {
      for (const int to : {1, 5, 33, 512, 3001}) {
        const auto axis = BilinearAxis(from, to);
        for (int i = 0; i < to; ++i) {
          const DeviceSample sample = SampleAt(from, to, i);
          const BilinearSample& want = axis[static_cast<size_t>(i)];
          ASSERT_EQ(sample.low, want.low);
          ASSERT_EQ(sample.high, want.high);
          ASSERT_EQ(sample.weight, want.weight);
        }
        if (from > between) continue;
        const auto two = TwoStepAxis(from, between, to);
        for (int i = 0; i < to; ++i) {
          DeviceTwoStep taps;
          FillTwoStep(from, between, to, i, &taps);
          const TwoStepSample& want = two[static_cast<size_t>(i)];
          ASSERT_EQ(taps.first, want.first);
          ASSERT_TRUE(std::equal(want.weights.begin(), want.weights.end(), taps.weights));
          ASSERT_EQ(taps.used, TapsUsed({want}));
        }
      }
    }
  }
}

struct Labels {
  std::vector<uint16_t> labels;
  std::vector<int64_t> class_pixels;
};

Labels OnTheCpu(const Map& logits, const ResizeSteps& steps) {
  ThreadPool pool(1);
  PoolContext context(pool);
  Labels out{std::vector<uint16_t>(static_cast<size_t>(steps.to.height * steps.to.width)),
             std::vector<int64_t>(static_cast<size_t>(logits.channels))};
  ResizeArgmax(context, logits.view(), steps, out.labels, out.class_pixels);
  return out;
}

Labels OnTheDevice(Map logits, const ResizeSteps& steps) {
  Labels out;
  out.labels.assign(static_cast<size_t>(steps.to.height * steps.to.width), 9999);
  std::vector<uint32_t> counts(static_cast<size_t>(logits.channels), 0);
  DeviceResizeArgmax image;
  image.logits = {logits.values.data(), static_cast<int>(logits.channels),
                  static_cast<int>(logits.stride), DeviceType::kFloat32};
  image.from_height = static_cast<int>(steps.from.height);
  image.from_width = static_cast<int>(steps.from.width);
  image.between_height = static_cast<int>(steps.between.height);
  image.between_width = static_cast<int>(steps.between.width);
  image.to_height = static_cast<int>(steps.to.height);
  image.to_width = static_cast<int>(steps.to.width);
  image.labels = out.labels.data();
  image.class_pixels = counts.data();
  ResizeArgmaxCuda(image, nullptr);
  out.class_pixels.assign(counts.begin(), counts.end());
  return out;
}

void ExpectSameLabels(const Map& logits, const ResizeSteps& steps) {
  const Labels want = OnTheCpu(logits, steps);
  const Labels out = OnTheDevice(logits, steps);
  EXPECT_EQ(out.labels, want.labels);
  EXPECT_EQ(out.class_pixels, want.class_pixels);
}

// Logits that are alike among neighbours, as a network's are: few classes may win in a block.
Map Smooth(uint64_t seed, const PixelSize& size, int64_t classes) {
  const Plane plane = Resized(Plane(Map::Random(seed, 4 * 5, classes), {0, 4, 5}), size);
  Map map(size.height * size.width, classes, 3);
  for (int64_t t = 0; t < map.rows; ++t) {
    for (int64_t c = 0; c < classes; ++c) {
      map.at(t, c) = static_cast<float>(3 * plane.at(t / size.width, t % size.width, c));
    }
  }
  return map;
}

const std::vector<ResizeSteps> kSteps = {
    {{1, 1}, {1, 1}, {1, 1}},       {{1, 1}, {3, 4}, {40, 50}},     {{1, 9}, {2, 36}, {5, 100}},
    {{7, 1}, {27, 3}, {70, 1}},     {{8, 12}, {32, 48}, {131, 77}}, {{8, 12}, {31, 46}, {31, 46}},
    {{24, 30}, {96, 120}, {17, 9}}, {{6, 6}, {6, 6}, {33, 17}},     {{96, 80}, {383, 317}, {18, 3}},
};

TEST(SegmentLabels, AreThoseOfTheCpu) {
  for (const ResizeSteps& steps : kSteps) {
    for (const int64_t classes : {1, 2, 19, 70}) {
      ExpectSameLabels(Smooth(1, steps.from, classes), steps);
      ExpectSameLabels(Map::Random(2, steps.from.height * steps.from.width, classes, 1), steps);
    }
  }
}

TEST(SegmentLabels, ManyClassesAreJudgedInTurns) {
  const ResizeSteps steps{{5, 7}, {20, 28}, {35, 20}};
  ExpectSameLabels(Smooth(3, steps.from, 600), steps);
}

TEST(SegmentLabels, OfEqualLogitsTheLowestClassWins) {
  const ResizeSteps steps{{5, 7}, {20, 28}, {60, 45}};
  Map logits = Smooth(4, steps.from, 40);
  for (int64_t t = 0; t < logits.rows; ++t) {
    logits.at(t, 3) += 1;
    logits.at(t, 11) = logits.at(t, 34) = logits.at(t, 3);
  }
  const Labels out = OnTheDevice(logits, steps);
  EXPECT_GT(out.class_pixels[3], 0);
  EXPECT_EQ(out.class_pixels[11] + out.class_pixels[34], 0);
  ExpectSameLabels(logits, steps);
}

TEST(SegmentLabels, NumbersThatAreNotFiniteGiveClasses) {
  const ResizeSteps steps{{3, 4}, {12, 16}, {20, 33}};
  Map logits = Map::Random(5, 12, 7);
  logits.at(5, 3) = std::numeric_limits<float>::quiet_NaN();
  logits.at(6, 1) = std::numeric_limits<float>::infinity();
  for (int64_t c = 0; c < 7; ++c) logits.at(0, c) = std::numeric_limits<float>::quiet_NaN();
  const Labels out = OnTheDevice(logits, steps);
  EXPECT_LT(*std::max_element(out.labels.begin(), out.labels.end()), 7);
  EXPECT_EQ(std::accumulate(out.class_pixels.begin(), out.class_pixels.end(), int64_t{0}), 660);
}

TEST(SegmentLabels, ShapesThatDoNotFitAreRefused) {
  const Map logits = Map::Random(6, 12, 4);
  EXPECT_THROW(OnTheDevice(logits, {{3, 4}, {2, 16}, {9, 9}}), std::invalid_argument);
  EXPECT_THROW(OnTheDevice(logits, {{3, 4}, {12, 16}, {9, 0}}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
