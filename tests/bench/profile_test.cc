#include "tests/bench/profile.h"

#include <vector>

#include <gtest/gtest.h>

#include "model/ops/gemm.h"
#include "model/ops/mlp.h"
#include "model/runtime/pool_context.h"

namespace spatialmamba {
namespace {

constexpr Ceilings kCeilings{.products_fp32 = 100,
                             .products_bf16 = 200,
                             .multiply_adds = 50,
                             .evaluations = 10,
                             .cache_bytes = 1e8,
                             .bytes = 1000};

TEST(FloorSeconds, AddsUpTheArithmeticAtItsCeilings) {
  const Work work{.op = "x", .products = 100, .multiply_adds = 100, .evaluations = 20};
  EXPECT_DOUBLE_EQ(FloorSeconds(work, kCeilings, 1, 1), 1 + 2 + 2);
  Work half = work;
  half.type = MatrixType::kBfloat16;
  EXPECT_DOUBLE_EQ(FloorSeconds(half, kCeilings, 1, 1), 0.5 + 2 + 2);
}

TEST(FloorSeconds, IsTheMovementOfDataWhereThatTakesLonger) {
  const Work work{.op = "x", .products = 100, .weight_bytes = 8000};
  EXPECT_DOUBLE_EQ(FloorSeconds(work, kCeilings, 1, 1), 8);
  // Weights are read once for all images of a batch.
  EXPECT_DOUBLE_EQ(FloorSeconds(work, kCeilings, 4, 1), 2);
  EXPECT_DOUBLE_EQ(FloorSeconds(work, kCeilings, 16, 1), 1);
}

TEST(FloorSeconds, CountsMapsOnlyWhereTheyLeaveTheL2) {
  const Work work{.op = "x", .map_bytes = 4 << 20};
  EXPECT_DOUBLE_EQ(FloorSeconds(work, kCeilings, 1, 1), (4 << 20) / 1e8);
  EXPECT_DOUBLE_EQ(FloorSeconds(work, kCeilings, 1, 8), 0);  // eight ops of half a megabyte
}

TEST(ProfilingContext, NotesTheWorkOfOuterOpsByShape) {
  ThreadPool pool(2);
  PoolContext inner(pool);
  ProfilingContext context(inner);
  const std::vector<float> values(64 * 16, 0.1F);
  const PackedMatrix expand(values, 64, 16);
  const PackedMatrix contract(values, 16, 64);
  const std::vector<float> bias(64);
  std::vector<float> x(3 * 16, 1.0F);
  std::vector<float> hidden(3 * 64);
  const View map{x.data(), 3, 16, 16};
  const View wide{hidden.data(), 3, 64, 64};
  Gemm(context, map, expand, {}, wide);
  Gemm(context, map, expand, {.activation = Activation::kSilu}, wide);
  // Few rows for two threads: made of two GEMMs, which are not counted again.
  Mlp(context, map, {&expand, bias.data(), &contract, bias.data()}, map, wide, map);
  const auto& ops = context.profile().ops();
  ASSERT_EQ(ops.size(), 2U);
  const OpTotal& gemm = ops.at({"gemm", 16, 64, 3});
  EXPECT_EQ(gemm.count, 2);
  EXPECT_EQ(gemm.work.products, 2 * 3 * 16 * 64);
  EXPECT_EQ(gemm.work.evaluations, 3 * 64);
  EXPECT_EQ(gemm.work.weight_bytes, 2 * 4 * 16 * 64);
  EXPECT_GT(gemm.seconds, 0);
  const OpTotal& mlp = ops.at({"mlp", 16, 16, 3});
  EXPECT_EQ(mlp.work.products, 2 * 3 * 16 * 64);
  EXPECT_EQ(mlp.work.evaluations, 3 * 64);
}

TEST(Profile, AddsProfilesUp) {
  Profile one;
  one.Add({.op = "a", .rows = 1, .products = 5}, 1);
  one.Add({.op = "a", .rows = 1, .products = 5}, 2);
  Profile two = one;
  two.Add(one);
  const OpTotal& total = two.ops().at({"a", 0, 0, 1});
  EXPECT_EQ(total.count, 4);
  EXPECT_EQ(total.work.products, 20);
  EXPECT_DOUBLE_EQ(total.seconds, 6);
}

}  // namespace
}  // namespace spatialmamba
