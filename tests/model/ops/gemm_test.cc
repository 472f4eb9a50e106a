#include "model/ops/gemm.h"

#include <bit>
#include <cmath>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "tests/model/ops/ops_fixture.h"

namespace spatialmamba {
namespace {

class Gemm : public OnEveryInstructionSet {};
INSTANTIATE_TEST_SUITE_P(, Gemm, testing::ValuesIn(AvailableInstructionSets()), SetName);

constexpr MatrixType kTypes[] = {MatrixType::kFloat32, MatrixType::kBfloat16};

// What a GEMM of that type multiplies in place of `value`: bf16 keeps 8 significant bits.
double Rounded(float value, MatrixType type) {
  if (type == MatrixType::kFloat32 || value == 0.0F) return double{value};
  int exponent = 0;
  const double fraction = std::frexp(double{value}, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

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

void ExpectTheSumInDoublePrecision(int64_t rows, int64_t inputs, int64_t outputs, MatrixType type) {
  ThreadPool pool(2);
  PoolContext context(pool);
  const Map x = Map::Random(1, rows, inputs, 3);
  const std::vector<float> w = RandomVector(2, outputs * inputs);
  const std::vector<float> bias = RandomVector(3, outputs);
  const Map residual = Map::Random(4, rows, outputs, 5);
  const PackedMatrix packed(w, outputs, inputs, type);
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
          sum += Rounded(x.at(r, k), type) * Rounded(w[static_cast<size_t>(n * inputs + k)], type);
        }
        const double expected = Activated(sum + double{bias[static_cast<size_t>(n)]}, activation) +
                                (adds ? double{residual.at(r, n)} : 0.0);
        ASSERT_NEAR(out.at(r, n), expected, 4e-6 * (1 + std::abs(expected)))
            << rows << " x " << inputs << " x " << outputs << " at " << r << ", " << n;
      }
    }
  }
}

TEST_P(Gemm, EqualsTheSumInDoublePrecision) {
  for (const MatrixType type : kTypes) {
    for (const int64_t rows : {1, 7, 129}) {
      for (const int64_t inputs : {1, 7, 64, 129}) {
        for (const int64_t outputs : {1, 6, 33, 129}) {
          ExpectTheSumInDoublePrecision(rows, inputs, outputs, type);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Values whose rounding is a tie, or crosses a power of two, or has nowhere to go.
TEST_P(Gemm, RoundsToTheNearestEvenBfloat16) {
  ThreadPool pool(1);
  PoolContext context(pool);
  const auto product = [&](float value, float weight) {
    const std::vector<float> w = {weight};
    Map x(1, 1);
    x.at(0, 0) = value;
    Map out(1, 1);
    spatialmamba::Gemm(context, x.view(), PackedMatrix(w, 1, 1, MatrixType::kBfloat16), {},
                       out.view());
    return out.at(0, 0);
  };
  constexpr float kStep = 1.0F / 128;
  for (const auto& [value, rounded] : {std::pair{1 + kStep / 2, 1.0F},
                                       {1 + kStep * 3 / 2, 1 + kStep * 2},
                                       {1 + kStep * 0.499F, 1.0F},
                                       {1 + kStep * 0.501F, 1 + kStep},
                                       {2 - kStep / 4, 2.0F},
                                       {-1 - kStep * 3 / 2, -1 - kStep * 2}}) {
    EXPECT_EQ(product(value, 1.0F), rounded) << value;
    EXPECT_EQ(product(1.0F, value), rounded) << value;
  }
  EXPECT_TRUE(std::isnan(product(std::bit_cast<float>(0x7fffffffU), 1.0F)));
  EXPECT_TRUE(std::isnan(product(1.0F, std::bit_cast<float>(0x7f800001U))));
  // The largest weight does not become an infinity.
  EXPECT_EQ(product(1.0F, 3.4028235e38F), 3.3895314e38F);
}

// The contract that exact batching rests on.
TEST_P(Gemm, RowHasTheSameBitsWhateverItsCompanyPositionAndThreads) {
  for (const auto& [inputs, outputs, type] : {std::tuple{64, 256, MatrixType::kFloat32},
                                              {129, 33, MatrixType::kFloat32},
                                              {2048, 70, MatrixType::kFloat32},
                                              {7, 6, MatrixType::kFloat32},
                                              {64, 256, MatrixType::kBfloat16},
                                              {129, 33, MatrixType::kBfloat16},
                                              {2048, 70, MatrixType::kBfloat16},
                                              {7, 6, MatrixType::kBfloat16}}) {
    const std::vector<float> w = RandomVector(1, inputs * outputs);
    const std::vector<float> bias = RandomVector(2, outputs);
    const PackedMatrix packed(w, outputs, inputs, type);
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
  const int64_t inputs = Context::kStagingFloats + 1;
  const PackedMatrix long_rows(RandomVector(1, inputs), 1, inputs, MatrixType::kBfloat16);
  const Map long_x(1, inputs);
  Map one(1, 1);
  EXPECT_THROW(spatialmamba::Gemm(context, long_x.view(), long_rows, {}, one.view()),
               std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
