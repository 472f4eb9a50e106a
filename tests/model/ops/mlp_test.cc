#include "model/ops/mlp.h"

#include "model/ops/gemm.h"
#include "tests/model/ops/ops_fixture.h"

namespace spatialmamba {
namespace {

class Mlp : public OnEveryInstructionSet {};
INSTANTIATE_TEST_SUITE_P(, Mlp, testing::ValuesIn(AvailableInstructionSets()), SetName);

// One thread keeps the hidden layer in scratch memory, many threads with few rows do not.
void ExpectTheBitsOfTwoGemms(MatrixType type) {
  const int64_t channels = 24;
  const int64_t width = 96;
  const PackedMatrix expand(RandomVector(1, channels * width), width, channels, type);
  const PackedMatrix contract(RandomVector(2, channels * width), channels, width, type);
  const std::vector<float> expand_bias = RandomVector(3, width);
  const std::vector<float> contract_bias = RandomVector(4, channels);
  const MlpWeights weights{&expand, expand_bias.data(), &contract, contract_bias.data()};
  for (const int64_t rows : {1, 49, 900, 5000}) {
    const Map x = Map::Random(5, rows, channels);
    const Map residual = Map::Random(6, rows, channels);
    Map hidden(rows, width);
    Map expected(rows, channels);
    ThreadPool one(1);
    PoolContext serial(one);
    Gemm(serial, x.view(), expand, {.bias = expand_bias.data(), .activation = Activation::kGelu},
         hidden.view());
    Gemm(serial, hidden.view(), contract,
         {.bias = contract_bias.data(),
          .residual = residual.values.data(),
          .residual_stride = channels},
         expected.view());
    for (const int threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      PoolContext context(pool);
      Map out(rows, channels);
      spatialmamba::Mlp(context, x.view(), weights, residual.view(), hidden.view(), out.view());
      EXPECT_EQ(out.values, expected.values) << rows << " rows, " << threads << " threads";
    }
  }
}

TEST_P(Mlp, HasTheBitsOfTwoGemmsOnEveryWay) {
  ExpectTheBitsOfTwoGemms(MatrixType::kFloat32);
  ExpectTheBitsOfTwoGemms(MatrixType::kBfloat16);
}

}  // namespace
}  // namespace spatialmamba
