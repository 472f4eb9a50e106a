#include "model/ops/upsampled_taps.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "model/ops/gemm.h"
#include "tests/model/ops/resize_reference.h"

namespace spatialmamba {
namespace {

using Sizes = std::vector<std::pair<int64_t, int64_t>>;

// Weights of a 3x3 convolution: [outputs, 9, inputs].
struct Taps {
  Taps(uint64_t seed, int64_t n, int64_t c)
      : outputs(n), inputs(c), values(RandomVector(seed, n * 9 * c)) {
    for (float& value : values) value *= 0.2F;
  }

  double at(int64_t o, int64_t tap, int64_t i) const {
    return static_cast<double>(values[static_cast<size_t>((o * 9 + tap) * inputs + i)]);
  }

  // [9 * outputs, inputs]: one product a tap.
  PackedMatrix Products() const {
    std::vector<float> rows;
    for (int64_t tap = 0; tap < 9; ++tap) {
      for (int64_t o = 0; o < outputs; ++o) {
        const auto from = values.begin() + (o * 9 + tap) * inputs;
        rows.insert(rows.end(), from, from + inputs);
      }
    }
    return {rows, 9 * outputs, inputs};
  }

  int64_t outputs;
  int64_t inputs;
  std::vector<float> values;
};

// The plain form: enlarge, then convolve.
Plane EnlargedThenConvolved(const Plane& x, const Taps& taps, const PixelSize& size) {
  const Plane large = Resized(x, size);
  Plane out(size, taps.outputs);
  for (int64_t y = 0; y < size.height; ++y) {
    for (int64_t u = 0; u < size.width; ++u) {
      for (int64_t o = 0; o < taps.outputs; ++o) {
        for (int64_t tap = 0; tap < 9; ++tap) {
          for (int64_t i = 0; i < taps.inputs; ++i) {
            out.at(y, u, o) +=
                taps.at(o, tap, i) * large.Padded(y + tap / 3 - 1, u + tap % 3 - 1, i);
          }
        }
      }
    }
  }
  return out;
}

// The form of the product: multiply, then enlarge and shift each tap's product.
Plane MultipliedThenEnlarged(const Plane& x, const Taps& taps, const PixelSize& size) {
  Plane out(size, taps.outputs);
  for (int64_t tap = 0; tap < 9; ++tap) {
    Plane product(x.size, taps.outputs);
    for (int64_t y = 0; y < x.size.height; ++y) {
      for (int64_t u = 0; u < x.size.width; ++u) {
        for (int64_t o = 0; o < taps.outputs; ++o) {
          for (int64_t i = 0; i < taps.inputs; ++i) {
            product.at(y, u, o) += taps.at(o, tap, i) * x.at(y, u, i);
          }
        }
      }
    }
    const Plane large = Resized(product, size);
    for (int64_t y = 0; y < size.height; ++y) {
      for (int64_t u = 0; u < size.width; ++u) {
        for (int64_t o = 0; o < taps.outputs; ++o) {
          out.at(y, u, o) += large.Padded(y + tap / 3 - 1, u + tap % 3 - 1, o);
        }
      }
    }
  }
  return out;
}

// Single pixels, rows, columns, odd sizes; the second map is larger than some of its images, as a
// pooled one may be; the last image takes several tiles of columns.
const Sizes kSizes = {{1, 1}, {1, 9}, {7, 1}, {5, 6}, {13, 10}, {3, 150}};
const Sizes kFirst = {{1, 1}, {1, 5}, {4, 1}, {3, 3}, {7, 5}, {2, 75}};
const Sizes kSecond(6, {6, 6});

struct Inputs {
  explicit Inputs(int64_t outputs)
      : taps{Taps(1, outputs, 6), Taps(2, outputs, 4)},
        maps{Map::Random(3, TotalTokens(SpansOf(kFirst)), 6, 2),
             Map::Random(4, TotalTokens(SpansOf(kSecond)), 4, 1)},
        onto(Map::Random(5, TotalTokens(SpansOf(kSizes)), outputs, 3)) {}

  std::vector<Taps> taps;
  std::vector<Map> maps;
  Map onto;
};

class UpsampledTapsTest : public OnEveryInstructionSet {
 protected:
  static Map Run(const Inputs& inputs, int threads) {
    ThreadPool pool(threads);
    PoolContext context(pool);
    const std::vector<Span> spans[] = {SpansOf(kFirst), SpansOf(kSecond)};
    std::vector<Map> products;
    for (size_t m = 0; m < 2; ++m) {
      products.emplace_back(inputs.maps[m].rows, 9 * inputs.taps[m].outputs, 5);
      Gemm(context, inputs.maps[m].view(), inputs.taps[m].Products(), {}, products[m].view());
    }
    const std::vector<TapProducts> maps = {{products[0].view(), spans[0]},
                                           {products[1].view(), spans[1]}};
    Map sum = inputs.onto;
    AddUpsampledTapsRelu(context, maps, sum.view(), SpansOf(kSizes));
    return sum;
  }
};
INSTANTIATE_TEST_SUITE_P(, UpsampledTapsTest, testing::ValuesIn(Float32InstructionSets()), SetName);

TEST_P(UpsampledTapsTest, EqualsEnlargingAndConvolvingInDoublePrecision) {
  for (const int64_t outputs : {1, 20, 64}) {
    const Inputs inputs(outputs);
    const Map sum = Run(inputs, 2);
    for (size_t i = 0; i < kSizes.size(); ++i) {
      const Span to = SpansOf(kSizes)[i];
      const PixelSize size{to.height, to.width};
      const Plane first(inputs.maps[0], SpansOf(kFirst)[i]);
      const Plane second(inputs.maps[1], SpansOf(kSecond)[i]);
      const Plane a = EnlargedThenConvolved(first, inputs.taps[0], size);
      const Plane b = EnlargedThenConvolved(second, inputs.taps[1], size);
      for (int64_t t = 0; t < to.tokens(); ++t) {
        for (int64_t o = 0; o < outputs; ++o) {
          const int64_t y = t / to.width;
          const int64_t x = t % to.width;
          const double expected =
              static_cast<double>(inputs.onto.at(to.offset + t, o)) + a.at(y, x, o) + b.at(y, x, o);
          ASSERT_NEAR(sum.at(to.offset + t, o), std::max(expected, 0.0), 2e-5)
              << "image " << i << " token " << t;
        }
      }
    }
  }
}

TEST_P(UpsampledTapsTest, ThreadsDoNotChangeABit) {
  const Inputs inputs(37);
  const Map one = Run(inputs, 1);
  for (const int threads : {2, 3}) {
    const Map many = Run(inputs, threads);
    for (int64_t row = 0; row < one.rows; ++row) EXPECT_TRUE(SameBits(one, row, many, row)) << row;
  }
}

TEST(UpsampledTaps, TheRewriteIsExact) {
  const Taps taps(6, 3, 5);
  for (size_t i = 0; i < kSizes.size(); ++i) {
    for (const Sizes& from : {kFirst, kSecond}) {
      const Map map = Map::Random(7, from[i].first * from[i].second, 5);
      const Plane x(map, {0, from[i].first, from[i].second});
      const PixelSize size{kSizes[i].first, kSizes[i].second};
      const Plane plain = EnlargedThenConvolved(x, taps, size);
      const Plane rewritten = MultipliedThenEnlarged(x, taps, size);
      for (size_t at = 0; at < plain.values.size(); ++at) {
        ASSERT_NEAR(plain.values[at], rewritten.values[at], 1e-12);
      }
    }
  }
}

TEST(UpsampledTaps, ShapesThatDoNotFitAreRefused) {
  ThreadPool pool(1);
  PoolContext context(pool);
  const std::vector<Span> one = SpansOf({{1, 1}});
  const std::vector<Span> wide = SpansOf({{1, 5000}});
  Map sum(1, 64);
  const Map products = Map::Random(8, 5000, 9 * 64);
  const auto run = [&](const std::vector<TapProducts>& maps) {
    AddUpsampledTapsRelu(context, maps, sum.view(), one);
  };
  EXPECT_THROW(run({}), std::invalid_argument);
  EXPECT_THROW(run({{products.view().Channels(0, 9 * 63), one}}), std::invalid_argument);
  EXPECT_THROW(run({{products.view(), {}}}), std::invalid_argument);
  EXPECT_THROW(run({{products.view(), wide}}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
