// The kernels of UPerNet's head against the CPU's ops, on small ragged batches.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "model/ops/adaptive_pool.h"
#include "model/ops/bilinear.h"
#include "model/ops/class_confidence.h"
#include "model/ops/upsampled_taps.h"
#include "model/runtime/pool_context.h"
#include "tests/model/ops/ops_fixture.h"

// After the standard headers, which use names that these define.
#include "model/ops/adaptive_pool_cuda.h"
#include "model/ops/bilinear_cuda.h"
#include "model/ops/class_confidence_cuda.h"
#include "model/ops/upsampled_taps_cuda.h"
#include "tests/cuda_on_host/ragged.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

using Shapes = std::vector<std::pair<int, int>>;

std::vector<Span> HostSpans(const RaggedLevel& level) {
  std::vector<Span> spans;
  for (const DeviceSpan& span : level.spans()) {
    spans.push_back({span.offset, span.height, span.width});
  }
  return spans;
}

template <typename T>
Map HostMap(const TestMap<T>& map, int rows, int channels) {
  Map copy(rows, channels);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < channels; ++c) copy.at(r, c) = static_cast<float>(map.value(r, c));
  }
  return copy;
}

template <typename T>
double LargestError(const TestMap<T>& out, const Map& want) {
  double largest = 0;
  for (int r = 0; r < want.rows; ++r) {
    for (int c = 0; c < want.channels; ++c) {
      largest = std::max(largest, Error(out.value(r, c), double{want.at(r, c)}));
    }
  }
  return largest;
}

// The CPU's ops on one thread.
class OnCpu {
 public:
  OnCpu() : pool_(1), context_(pool_) {}
  Context& operator*() { return context_; }

 private:
  ThreadPool pool_;
  PoolContext context_;
};

template <typename T>
class SegmentKernels : public testing::Test {};
using Types = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(SegmentKernels, Types);

const Shapes kPooled = {{1, 1}, {7, 5}, {3, 17}, {20, 33}};

TYPED_TEST(SegmentKernels, PoolsAreThoseOfTheCpu) {
  constexpr int kChannels = 72;  // a block's and a part of one
  const RaggedLevel batch(kPooled);
  TestMap<TypeParam> x(batch.tokens(), kChannels, -2, 2, 1, 1);
  const std::vector<int> bins = {1, 2, 4};
  std::vector<TestMap<TypeParam>> outs;
  for (const int side : bins) outs.emplace_back(batch.images() * side * side, kChannels);
  std::vector<int> rows(bins.size(), -1);
  DevicePoolGrids grids;
  grids.count = static_cast<int>(bins.size());
  grids.rows = rows.data();
  for (size_t i = 0; i < bins.size(); ++i) {
    grids.bins[i] = bins[i];
    grids.out[i] = outs[i].map();
  }
  EXPECT_TRUE(SameInEveryOrder(outs.back(),
                               [&] { AdaptivePoolCuda(x.map(), batch.level(), grids, nullptr); }));
  for (size_t i = 0; i < bins.size(); ++i) {
    const int cells = batch.images() * bins[i] * bins[i];
    EXPECT_EQ(rows[i], cells);
    OnCpu cpu;
    Map want(cells, kChannels);
    AdaptiveAveragePool(*cpu, HostMap(x, batch.tokens(), kChannels).view(), HostSpans(batch),
                        bins[i], want.view());
    EXPECT_LE(LargestError(outs[i], want), kTolerance<TypeParam>) << bins[i];
  }
}

const Shapes kSmall = {{1, 1}, {4, 3}, {2, 9}, {9, 13}, {1, 7}};
const Shapes kLarge = {{1, 1}, {7, 5}, {5, 17}, {4, 6}, {9, 1}};  // the fourth is smaller

TYPED_TEST(SegmentKernels, BilinearSumsAreThoseOfTheCpu) {
  for (const int channels : {8, 40}) {
    const RaggedLevel from(kSmall);
    const RaggedLevel to(kLarge);
    TestMap<TypeParam> x(from.tokens(), channels, -2, 2, 1, 1);
    const TestMap<TypeParam> before(to.tokens(), channels, -2, 2, 2, 1);
    TestMap<TypeParam> sum = before;
    EXPECT_TRUE(SameInEveryOrder(sum, [&] {
      sum = before;
      AddBilinearCuda(x.map(), from.level(), sum.map(), to.level(), nullptr);
    }));
    OnCpu cpu;
    Map want = HostMap(before, to.tokens(), channels);
    AddBilinear(*cpu, HostMap(x, from.tokens(), channels).view(), HostSpans(from), want.view(),
                HostSpans(to));
    EXPECT_LE(LargestError(sum, want), kTolerance<TypeParam>);
  }
}

// One enlarged map: its products by panels of outputs, as the kernel reads them, and tap by tap, as
// the CPU does.
template <typename T>
struct Products {
  Products(int rows, int channels, unsigned seed)
      : panels(rows, 9 * channels, -1, 1, seed, 1), taps(rows, 9 * channels) {
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < channels; ++c) {
        const int first = c / kTapPanel * kTapPanel;
        const int outputs = std::min(kTapPanel, channels - first);
        for (int tap = 0; tap < 9; ++tap) {
          taps.at(r, tap * channels + c) =
              static_cast<float>(panels.value(r, 9 * first + tap * outputs + c - first));
        }
      }
    }
  }
  TestMap<T> panels;
  Map taps;
};

template <typename T>
struct TapsCase {
  TapsCase(const std::vector<Shapes>& shapes, const std::vector<int>& sides, int images,
           int channels) {
    for (const Shapes& own : shapes) {
      levels.push_back(std::make_unique<RaggedLevel>(own));
      Add(levels.back()->tokens(), channels, HostSpans(*levels.back()));
      maps.maps[maps.count - 1].spans = levels.back()->level().spans;
    }
    for (const int side : sides) {
      std::vector<Span> grid;
      for (int i = 0; i < images; ++i) grid.push_back({i * side * side, side, side});
      Add(images * side * side, channels, grid);
      maps.maps[maps.count - 1].side = side;
    }
  }

  void Add(int rows, int channels, std::vector<Span> of) {
    products.push_back(std::make_unique<Products<T>>(rows, channels, 10 + rows));
    spans.push_back(std::move(of));
    maps.maps[maps.count++].products = products.back()->panels.map();
  }

  Map OnTheCpu(const Map& sum, const std::vector<Span>& sum_spans) const {
    OnCpu cpu;
    std::vector<TapProducts> all;
    for (size_t i = 0; i < products.size(); ++i) {
      all.push_back({products[i]->taps.view(), spans[i]});
    }
    Map out = sum;
    AddUpsampledTapsRelu(*cpu, all, out.view(), sum_spans);
    return out;
  }

  std::vector<std::unique_ptr<RaggedLevel>> levels;
  std::vector<std::unique_ptr<Products<T>>> products;
  std::vector<std::vector<Span>> spans;
  DeviceTapMaps maps;
};

TYPED_TEST(SegmentKernels, UpsampledTapsAreThoseOfTheCpu) {
  const RaggedLevel to(kLarge);
  const auto images = static_cast<int>(kLarge.size());
  for (const int channels : {8, 72, 128}) {
    for (const std::vector<int>& sides : {std::vector<int>{}, {1, 2, 3, 6}}) {
      const TapsCase<TypeParam> test({kSmall, {{1, 1}, {1, 2}, {3, 4}, {2, 2}, {20, 3}}}, sides,
                                     images, channels);
      const TestMap<TypeParam> before(to.tokens(), channels, -2, 2, 2, 1);
      TestMap<TypeParam> sum = before;
      EXPECT_TRUE(SameInEveryOrder(sum, [&] {
        sum = before;
        AddUpsampledTapsReluCuda(test.maps, sum.map(), to.level(), nullptr);
      }));
      const Map want = test.OnTheCpu(HostMap(before, to.tokens(), channels), HostSpans(to));
      EXPECT_LE(LargestError(sum, want), kTolerance<TypeParam>) << channels;
    }
  }
}

TYPED_TEST(SegmentKernels, TilesAndNeighboursDoNotChangeUpsampledTaps) {
  constexpr int kChannels = 16;
  const TapsCase<TypeParam> test({kSmall}, {3}, static_cast<int>(kLarge.size()), kChannels);
  const RaggedLevel batch(kLarge);
  const TestMap<TypeParam> before(batch.tokens(), kChannels, -2, 2, 2);
  TestMap<TypeParam> together = before;
  AddUpsampledTapsReluCuda(test.maps, together.map(), batch.level(), nullptr);
  for (const TileSize tile : {TileSize{1, 8}, TileSize{16, 16}, TileSize{2, 24}}) {
    const RaggedLevel other(kLarge, tile);
    TestMap<TypeParam> sum = before;
    AddUpsampledTapsReluCuda(test.maps, sum.map(), other.level(), nullptr);
    EXPECT_TRUE(sum.SameBits(together));
  }
  for (size_t i = 0; i < kLarge.size(); ++i) {
    const RaggedLevel alone({kLarge[i]});
    const RaggedLevel small({kSmall[i]});
    TapsCase<TypeParam> own({}, {}, 1, kChannels);
    own.maps = test.maps;
    const DeviceSpan& from = test.levels[0]->spans()[i];
    auto* products = static_cast<TypeParam*>(test.maps.maps[0].products.data);
    own.maps.maps[0].products.data = products + from.offset * test.maps.maps[0].products.stride;
    own.maps.maps[0].spans = small.level().spans;
    auto* cells = static_cast<TypeParam*>(test.maps.maps[1].products.data);
    own.maps.maps[1].products.data =
        cells + static_cast<int>(i) * 9 * test.maps.maps[1].products.stride;
    TestMap<TypeParam> sum = before;
    DeviceMap view = sum.map();
    const int offset = batch.spans()[i].offset;
    view.data = static_cast<TypeParam*>(view.data) + offset * view.stride;
    AddUpsampledTapsReluCuda(own.maps, view, alone.level(), nullptr);
    for (int t = 0; t < alone.tokens(); ++t) {
      EXPECT_TRUE(sum.Contains(offset + t, together, offset + t)) << i << " " << t;
    }
  }
}

TEST(SegmentConfidence, IsThatOfTheCpuAndTellsOfNumbersThatAreNotFinite) {
  const Shapes shapes = {{3, 5}, {1, 1}, {4, 4}, {2, 2}};
  const RaggedLevel batch(shapes);
  for (const int classes : {1, 2, 33, 150}) {
    TestMap<float> logits(batch.tokens(), classes, -6, 6, 3, 1);
    const Map on_cpu = HostMap(logits, batch.tokens(), classes);
    // The second image has an infinity, the last a NaN.
    logits.at(15, classes - 1) = -std::numeric_limits<float>::infinity();
    logits.at(35, classes / 2) = std::numeric_limits<float>::quiet_NaN();
    std::vector<uint8_t> confidence(static_cast<size_t>(batch.tokens()), 99);
    std::vector<int> not_finite(shapes.size(), 0);
    ClassConfidenceCuda(logits.map(), batch.level(), confidence.data(), not_finite.data(), nullptr);
    EXPECT_EQ(not_finite, (std::vector<int>{0, 1, 0, 1}));
    OnCpu cpu;
    std::vector<uint8_t> want(confidence.size());
    ClassConfidence(*cpu, on_cpu.view(), want);
    for (size_t t = 0; t < want.size(); ++t) {
      if (t == 15 || t == 35) continue;
      EXPECT_LE(std::abs(confidence[t] - want[t]), 1) << t;
    }
  }
}

TEST(SegmentKernelsRefuse, WhatDoesNotFit) {
  const RaggedLevel level({{2, 2}});
  TestMap<float> eight(4, 8), other(4, 16);
  TestMap<Bf16> half(4, 8);
  EXPECT_THROW(AddBilinearCuda(eight.map(), level.level(), other.map(), level.level(), nullptr),
               std::invalid_argument);
  EXPECT_THROW(AddBilinearCuda(eight.map(), level.level(), half.map(), level.level(), nullptr),
               std::invalid_argument);
  EXPECT_THROW(AdaptivePoolCuda(eight.map(), level.level(), DevicePoolGrids(), nullptr),
               std::invalid_argument);
  EXPECT_THROW(AddUpsampledTapsReluCuda(DeviceTapMaps(), eight.map(), level.level(), nullptr),
               std::invalid_argument);
  EXPECT_THROW(ClassConfidenceCuda(half.map(), level.level(), nullptr, nullptr, nullptr),
               std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
