#include "model/ops/gemm.h"

#include <cmath>
#include <stdexcept>

#include "tests/model/ops/ops_fixture.h"

namespace spatialmamba {
namespace {

class Gemm : public OnEveryInstructionSet {};
INSTANTIATE_TEST_SUITE_P(, Gemm, testing::ValuesIn(AvailableInstructionSets()), SetName);

double Activated(double x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
  }
  return 0;
}

TEST_P(Gemm, EqualsTheSumInDoublePrecision) {
  ThreadPool pool(2);
  PoolContext context(pool);
  for (const int64_t rows : {1, 7, 129}) {
    for (const int64_t inputs : {1, 7, 64, 129}) {
      for (const int64_t outputs : {1, 6, 33, 129}) {
        const Map x = Map::Random(1, rows, inputs, 3);
        const std::vector<float> w = RandomVector(2, outputs * inputs);
        const std::vector<float> bias = RandomVector(3, outputs);
        const Map residual = Map::Random(4, rows, outputs, 5);
        const PackedMatrix packed(w, outputs, inputs);
        for (const Activation activation :
             {Activation::kNone, Activation::kRelu, Activation::kSilu, Activation::kGelu}) {
          const bool adds = activation == Activation::kNone;
          Map out(rows, outputs, 2);
          Epilogue epilogue{.bias = bias.data(), .activation = activation};
          if (adds) {
            epilogue.residual = residual.values.data();
            epilogue.residual_stride = residual.stride;
          }
          spatialmamba::Gemm(context, x.view(), packed, epilogue, out.view());
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t n = 0; n < outputs; ++n) {
              double sum = 0;
              for (int64_t k = 0; k < inputs; ++k) {
                sum += double{x.at(r, k)} * double{w[static_cast<size_t>(n * inputs + k)]};
              }
              const double expected =
                  Activated(sum + double{bias[static_cast<size_t>(n)]}, activation) +
                  (adds ? double{residual.at(r, n)} : 0.0);
              ASSERT_NEAR(out.at(r, n), expected, 4e-6 * (1 + std::abs(expected)))
                  << rows << " x " << inputs << " x " << outputs << " at " << r << ", " << n;
            }
          }
        }
      }
    }
  }
}

// The contract that exact batching rests on.
TEST_P(Gemm, RowHasTheSameBitsWhateverItsCompanyPositionAndThreads) {
  for (const auto& [inputs, outputs] : {std::pair{64, 256}, {129, 33}, {2048, 70}, {7, 6}}) {
    const std::vector<float> w = RandomVector(1, inputs * outputs);
    const std::vector<float> bias = RandomVector(2, outputs);
    const PackedMatrix packed(w, outputs, inputs);
    const Map x = Map::Random(3, 400, inputs);
    for (const Activation activation : {Activation::kNone, Activation::kSilu, Activation::kGelu}) {
      const Epilogue epilogue{.bias = bias.data(), .activation = activation};
      Map alone(400, outputs);
      ThreadPool one(1);
      PoolContext serial(one);
      for (int64_t r = 0; r < x.rows; ++r) {
        const View out{alone.view().row(r), 1, outputs, outputs};
        spatialmamba::Gemm(serial, {x.view().row(r), 1, inputs, inputs}, packed, epilogue, out);
      }
      for (const int threads : {1, 2, 3, 5}) {
        ThreadPool pool(threads);
        PoolContext context(pool);
        for (const int64_t rows : {1, 2, 3, 5, 6, 7, 13, 14, 15, 27, 29, 113, 392}) {
          const int64_t first = 400 - rows - (rows % 3);
          Map out(rows, outputs);
          spatialmamba::Gemm(context, {x.view().row(first), rows, inputs, inputs}, packed, epilogue,
                             out.view());
          for (int64_t r = 0; r < rows; ++r) {
            ASSERT_TRUE(SameBits(out, r, alone, first + r))
                << rows << " rows, row " << r << ", " << threads;
          }
        }
      }
    }
  }
}

TEST_P(Gemm, MayAddTheOutputToItself) {
  ThreadPool pool(2);
  PoolContext context(pool);
  const Map x = Map::Random(1, 50, 40);
  const PackedMatrix packed(RandomVector(2, 40 * 35), 35, 40);
  const Map residual = Map::Random(3, 50, 35);
  Map apart(50, 35);
  spatialmamba::Gemm(context, x.view(), packed,
                     {.residual = residual.values.data(), .residual_stride = 35}, apart.view());
  Map in_place = residual;
  spatialmamba::Gemm(context, x.view(), packed,
                     {.residual = in_place.values.data(), .residual_stride = 35}, in_place.view());
  EXPECT_EQ(apart.values, in_place.values);
}

TEST_P(Gemm, LargeArgumentsOfActivationsNeitherOverflowNorLoseTheirSign) {
  ThreadPool pool(1);
  PoolContext context(pool);
  const std::vector<float> one = {1.0F};
  const PackedMatrix packed(one, 1, 1);
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    for (const float value :
         {-1e30F, -200.0F, -88.0F, -20.0F, -5.7F, -4.0F, -0.0F, 0.0F, 1e-30F, 3.9F, 88.0F, 1e30F}) {
      Map x(1, 1);
      x.at(0, 0) = value;
      Map out(1, 1);
      spatialmamba::Gemm(context, x.view(), packed, {.activation = activation}, out.view());
      const double expected = Activated(double{value}, activation);
      EXPECT_NEAR(out.at(0, 0), expected, 1e-6 * std::max(1.0, std::abs(expected))) << value;
    }
  }
}

TEST(GemmShapes, ThatDoNotFitAreRefused) {
  ThreadPool pool(1);
  PoolContext context(pool);
  const PackedMatrix packed(RandomVector(1, 12), 3, 4);
  Map x(2, 5);
  Map out(2, 3);
  EXPECT_THROW(spatialmamba::Gemm(context, x.view(), packed, {}, out.view()),
               std::invalid_argument);
  EXPECT_THROW(PackedMatrix(RandomVector(1, 12), 5, 4), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
