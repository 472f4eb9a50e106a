#include <algorithm>
#include <cmath>
#include <functional>

#include "model/ops/conv.h"
#include "model/ops/depthwise.h"
#include "model/ops/layer_norm.h"
#include "model/ops/row_items.h"
#include "model/ops/scan.h"
#include "model/ops/state_fusion.h"
#include "tests/model/ops/ops_fixture.h"

namespace spatialmamba {
namespace {

// Every kernel over ragged batches, against a naive loop in double precision, with channel counts
// that are no multiple of any vector and views with gaps.
class Kernels : public OnEveryInstructionSet {
 protected:
  static std::vector<Span> Ragged() {
    return SpansOf({{1, 1}, {7, 5}, {2, 3}, {12, 17}, {1, 9}, {23, 1}});
  }
  static constexpr int64_t kChannelCounts[] = {1, 7, 16, 40, 129};

  // A value of an image, zero outside.
  static double Padded(const Map& x, const Span& span, int64_t row, int64_t column,
                       int64_t channel) {
    if (row < 0 || row >= span.height || column < 0 || column >= span.width) return 0;
    return x.at(span.offset + row * span.width + column, channel);
  }

  static std::vector<double> Normed(const std::vector<double>& x, const std::vector<float>& gain,
                                    const std::vector<float>& bias) {
    double mean = 0;
    for (const double v : x) mean += v / static_cast<double>(x.size());
    double variance = 0;
    for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
    std::vector<double> result;
    for (size_t i = 0; i < x.size(); ++i) {
      result.push_back((x[i] - mean) / std::sqrt(variance + 1e-5) * double{gain[i]} +
                       double{bias[i]});
    }
    return result;
  }

  static void ExpectNear(const Map& actual, int64_t row, const std::vector<double>& expected,
                         double tolerance) {
    for (int64_t c = 0; c < actual.channels; ++c) {
      const double value = expected[static_cast<size_t>(c)];
      ASSERT_NEAR(actual.at(row, c), value, tolerance * (1 + std::abs(value)))
          << "row " << row << ", channel " << c;
    }
  }

  // Runs `op` on the whole batch with 1 and 3 threads and on each image alone, and expects the same
  // bits. op(context, spans, first token): fills rows of `out` from the image's own tokens.
  using Op = std::function<void(Context&, std::span<const Span>, int64_t first_token, View out)>;
  static void ExpectRaggedEqualsOneByOne(const Op& op, std::span<const Span> spans,
                                         int64_t channels) {
    Map together(TotalTokens(spans), channels);
    ThreadPool three(3);
    PoolContext context(three);
    op(context, spans, 0, together.view());
    for (const Span& span : spans) {
      Map alone(span.tokens(), channels);
      ThreadPool one(1);
      PoolContext serial(one);
      const Span own{0, span.height, span.width};
      op(serial, {&own, 1}, span.offset, alone.view());
      for (int64_t t = 0; t < span.tokens(); ++t) {
        ASSERT_TRUE(SameBits(alone, t, together, span.offset + t))
            << span.height << " x " << span.width;
      }
    }
  }

  static ConstView From(const Map& map, int64_t first) {
    return {map.view().row(first), map.rows - first, map.channels, map.stride};
  }
};
INSTANTIATE_TEST_SUITE_P(, Kernels, testing::ValuesIn(Float32InstructionSets()), SetName);

TEST_P(Kernels, DepthwiseAddsItsInputAndNormalises) {
  const std::vector<Span> spans = Ragged();
  for (const int64_t channels : kChannelCounts) {
    const Map x = Map::Random(1, TotalTokens(spans), channels, 3);
    const std::vector<float> taps = RandomVector(2, 9 * channels);
    const std::vector<float> bias = RandomVector(3, channels);
    const std::vector<float> gain = RandomVector(4, channels);
    const std::vector<float> shift = RandomVector(5, channels);
    Map out(x.rows, channels, 1);
    Map normed(x.rows, channels);
    ThreadPool pool(2);
    PoolContext context(pool);
    DepthwiseResidualNorm(context, x.view(), spans, {taps.data(), bias.data()},
                          {gain.data(), shift.data()}, out.view(), normed.view());
    for (const Span& span : spans) {
      for (int64_t t = 0; t < span.tokens(); ++t) {
        std::vector<double> expected;
        std::vector<double> own;
        for (int64_t c = 0; c < channels; ++c) {
          double sum = bias[static_cast<size_t>(c)];
          for (int64_t k = 0; k < 9; ++k) {
            sum += double{taps[static_cast<size_t>(k * channels + c)]} *
                   Padded(x, span, t / span.width + k / 3 - 1, t % span.width + k % 3 - 1, c);
          }
          expected.push_back(sum + double{x.at(span.offset + t, c)});
          own.push_back(out.at(span.offset + t, c));
        }
        ExpectNear(out, span.offset + t, expected, 2e-6);
        if (channels > 1) ExpectNear(normed, span.offset + t, Normed(own, gain, shift), 2e-5);
      }
    }
    ExpectRaggedEqualsOneByOne(
        [&](Context& any, std::span<const Span> images, int64_t first, View result) {
          Map scratch(result.rows, channels);
          DepthwiseResidualNorm(any, From(x, first), images, {taps.data(), bias.data()},
                                {gain.data(), shift.data()}, scratch.view(), result);
        },
        spans, channels);
  }
}

TEST_P(Kernels, DepthwiseWithStrideTwoKeepsTheOddEdge) {
  const std::vector<Span> spans = Ragged();
  const std::vector<Span> halved = Halved(spans);
  for (const int64_t channels : kChannelCounts) {
    const Map x = Map::Random(1, TotalTokens(spans), channels);
    const std::vector<float> taps = RandomVector(2, 9 * channels);
    const std::vector<float> bias = RandomVector(3, channels);
    Map out(TotalTokens(halved), channels);
    ThreadPool pool(2);
    PoolContext context(pool);
    DepthwiseStride2(context, x.view(), spans, {taps.data(), bias.data()}, Activation::kRelu,
                     out.view(), halved);
    for (size_t i = 0; i < spans.size(); ++i) {
      ASSERT_EQ(halved[i].height, (spans[i].height + 1) / 2);
      for (int64_t t = 0; t < halved[i].tokens(); ++t) {
        std::vector<double> expected;
        for (int64_t c = 0; c < channels; ++c) {
          double sum = bias[static_cast<size_t>(c)];
          for (int64_t k = 0; k < 9; ++k) {
            sum += double{taps[static_cast<size_t>(k * channels + c)]} *
                   Padded(x, spans[i], t / halved[i].width * 2 + k / 3 - 1,
                          t % halved[i].width * 2 + k % 3 - 1, c);
          }
          expected.push_back(std::max(sum, 0.0));
        }
        ExpectNear(out, halved[i].offset + t, expected, 2e-6);
      }
    }
  }
}

TEST_P(Kernels, DenseConvolutionEqualsTheNaiveOne) {
  const std::vector<Span> spans = Ragged();
  for (const int64_t step : {1, 2}) {
    const std::vector<Span> out_spans = step == 1 ? spans : Halved(spans);
    for (const auto& [inputs, outputs] : {std::pair<int64_t, int64_t>{3, 5}, {16, 32}, {7, 40}}) {
      const Map x = Map::Random(1, TotalTokens(spans), inputs, 2);
      const std::vector<float> weights = RandomVector(2, outputs * 9 * inputs);
      const std::vector<float> bias = RandomVector(3, outputs);
      Map out(TotalTokens(out_spans), outputs);
      ThreadPool pool(2);
      PoolContext context(pool);
      Conv3x3(context, x.view(), spans, step, PackedMatrix(weights, outputs, 9 * inputs),
              {.bias = bias.data()}, out.view(), out_spans);
      for (size_t i = 0; i < spans.size(); ++i) {
        for (int64_t t = 0; t < out_spans[i].tokens(); ++t) {
          std::vector<double> expected;
          for (int64_t o = 0; o < outputs; ++o) {
            double sum = bias[static_cast<size_t>(o)];
            for (int64_t k = 0; k < 9; ++k) {
              for (int64_t c = 0; c < inputs; ++c) {
                sum += double{weights[static_cast<size_t>((o * 9 + k) * inputs + c)]} *
                       Padded(x, spans[i], t / out_spans[i].width * step + k / 3 - 1,
                              t % out_spans[i].width * step + k % 3 - 1, c);
              }
            }
            expected.push_back(sum);
          }
          ExpectNear(out, out_spans[i].offset + t, expected, 4e-6);
        }
      }
    }
  }
}

TEST_P(Kernels, ScanIsTheRecurrence) {
  const std::vector<Span> spans = Ragged();
  for (const int64_t channels : kChannelCounts) {
    const int64_t rank = channels % 5 + 1;
    const Map x = Map::Random(1, TotalTokens(spans), channels, 1);
    const Map rbc = Map::Random(2, TotalTokens(spans), rank + 2);
    const std::vector<float> weight = RandomVector(3, rank * channels);
    std::vector<float> bias = RandomVector(4, channels);
    for (float& v : bias) v = v * 6 - 3;  // the steps span what trained weights span
    std::vector<float> decay = RandomVector(5, channels);
    for (float& v : decay) v = -std::exp(2 * v);
    const ScanWeights weights{rank, weight.data(), bias.data(), decay.data()};
    Map h(x.rows, channels, 2);
    ThreadPool pool(2);
    PoolContext context(pool);
    Scan(context, x.view(), rbc.view(), spans, weights, h.view());
    for (const Span& span : spans) {
      std::vector<double> state(static_cast<size_t>(channels));
      for (int64_t t = span.offset; t < span.offset + span.tokens(); ++t) {
        for (int64_t c = 0; c < channels; ++c) {
          const auto i = static_cast<size_t>(c);
          double step = bias[i];
          for (int64_t r = 0; r < rank; ++r) {
            step += double{weight[static_cast<size_t>(r * channels + c)]} * double{rbc.at(t, r)};
          }
          const double dt = std::log1p(std::exp(step));
          state[i] = std::exp(double{decay[i]} * dt) * state[i] +
                     dt * double{rbc.at(t, rank)} * double{x.at(t, c)};
        }
        ExpectNear(h, t, state, 5e-6);
      }
    }
    ExpectRaggedEqualsOneByOne(
        [&](Context& any, std::span<const Span> images, int64_t first, View result) {
          Scan(any, From(x, first), From(rbc, first), images, weights, result);
        },
        spans, channels);
  }
}

TEST_P(Kernels, StateFusionReplicatesEdgesNormalisesAndGates) {
  const std::vector<Span> spans = Ragged();
  for (const int64_t channels : {7, 16, 40, 129}) {
    const Map h = Map::Random(1, TotalTokens(spans), channels);
    const Map c = Map::Random(2, TotalTokens(spans), 1, 4);
    const Map x = Map::Random(3, TotalTokens(spans), channels, 1);
    const Map z = Map::Random(4, TotalTokens(spans), channels, 9);
    const std::vector<float> taps = RandomVector(5, 25 * channels);
    const std::vector<float> skip = RandomVector(6, channels);
    const std::vector<float> gain = RandomVector(7, channels);
    const std::vector<float> shift = RandomVector(8, channels);
    const StateFusionWeights weights{taps.data(), skip.data(), {gain.data(), shift.data()}};
    Map out(x.rows, channels);
    ThreadPool pool(2);
    PoolContext context(pool);
    StateFusion(context, {h.view(), c.view(), x.view(), z.view()}, spans, weights, out.view());
    for (const Span& span : spans) {
      for (int64_t t = 0; t < span.tokens(); ++t) {
        std::vector<double> observed;
        for (int64_t i = 0; i < channels; ++i) {
          double fused = 0;
          for (int64_t k = 0; k < 25; ++k) {
            const int64_t row =
                std::clamp<int64_t>(t / span.width + kFusionOffsets[k].row, 0, span.height - 1);
            const int64_t column =
                std::clamp<int64_t>(t % span.width + kFusionOffsets[k].column, 0, span.width - 1);
            fused += double{taps[static_cast<size_t>(k * channels + i)]} *
                     double{h.at(span.offset + row * span.width + column, i)};
          }
          observed.push_back(fused * double{c.at(span.offset + t, 0)} +
                             double{skip[static_cast<size_t>(i)]} *
                                 double{x.at(span.offset + t, i)});
        }
        std::vector<double> expected = Normed(observed, gain, shift);
        for (int64_t i = 0; i < channels; ++i) {
          const double gate = z.at(span.offset + t, i);
          expected[static_cast<size_t>(i)] *= gate / (1 + std::exp(-gate));
        }
        ExpectNear(out, span.offset + t, expected, 2e-5);
      }
    }
    ExpectRaggedEqualsOneByOne(
        [&](Context& any, std::span<const Span> images, int64_t first, View result) {
          StateFusion(any, {From(h, first), From(c, first), From(x, first), From(z, first)}, images,
                      weights, result);
        },
        spans, channels);
  }
}

TEST_P(Kernels, LayerNormAndMeanOverTokens) {
  const std::vector<Span> spans = Ragged();
  for (const int64_t channels : {7, 16, 40, 129}) {
    const Map x = Map::Random(1, TotalTokens(spans), channels, 3);
    const std::vector<float> gain = RandomVector(2, channels);
    const std::vector<float> shift = RandomVector(3, channels);
    Map normed(x.rows, channels);
    Map mean(static_cast<int64_t>(spans.size()), channels);
    ThreadPool pool(2);
    PoolContext context(pool);
    LayerNorm(context, x.view(), {gain.data(), shift.data()}, normed.view());
    MeanOfTokens(context, x.view(), spans, mean.view());
    for (size_t i = 0; i < spans.size(); ++i) {
      std::vector<double> sums(static_cast<size_t>(channels));
      for (int64_t t = spans[i].offset; t < spans[i].offset + spans[i].tokens(); ++t) {
        std::vector<double> row;
        for (int64_t c = 0; c < channels; ++c) {
          row.push_back(x.at(t, c));
          sums[static_cast<size_t>(c)] +=
              double{x.at(t, c)} / static_cast<double>(spans[i].tokens());
        }
        ExpectNear(normed, t, Normed(row, gain, shift), 5e-6);
      }
      ExpectNear(mean, static_cast<int64_t>(i), sums, 1e-6);
    }
  }
}

}  // namespace
}  // namespace spatialmamba
