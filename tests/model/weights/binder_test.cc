#include "model/weights/binder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace spatialmamba {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Tensor Zeros(std::vector<int64_t> shape) {
  Tensor tensor{.shape = shape, .strides = RowMajorStrides(shape)};
  tensor.storage = std::make_shared<const std::vector<std::byte>>(
      static_cast<size_t>(tensor.elements() * SizeOf(tensor.dtype)));
  return tensor;
}

std::string ErrorOf(const std::vector<ExpectedTensor>& expected, const Checkpoint& checkpoint,
                    const std::vector<std::string>& ignored = {}) {
  try {
    Bind(expected, checkpoint, ignored);
    return "";
  } catch (const CheckpointError& error) {
    return error.what();
  }
}

const std::vector<ExpectedTensor> kExpected = {{"stem.weight", {4, 3}},
                                               {"stem.bias", {4}},
                                               {"norm.num_batches_tracked", {}, true},
                                               {"head.bias", {10}}};

TEST(Bind, GivesEveryExpectedTensorAndOptionalOnesThatAreThere) {
  Checkpoint checkpoint;
  checkpoint.tensors = {
      {"stem.weight", Zeros({4, 3})}, {"stem.bias", Zeros({4})}, {"head.bias", Zeros({10})}};
  auto bound = Bind(kExpected, checkpoint);
  EXPECT_EQ(bound.size(), 3U);
  EXPECT_EQ(bound.at("stem.weight").size(), 12U);
  checkpoint.tensors["norm.num_batches_tracked"] = Zeros({});
  bound = Bind(kExpected, checkpoint);
  EXPECT_THAT(bound.at("norm.num_batches_tracked"), ElementsAre(0));
}

TEST(Bind, OneErrorListsAllDifferencesWithBothShapes) {
  Checkpoint checkpoint;
  checkpoint.file = "tiny.pth";
  checkpoint.key = "model";
  checkpoint.tensors = {
      {"stem.weight", Zeros({8, 3})}, {"head.bias", Zeros({10})}, {"extra", Zeros({2})}};
  const std::string error = ErrorOf(kExpected, checkpoint);
  EXPECT_THAT(error, HasSubstr("tiny.pth"));
  EXPECT_THAT(error, HasSubstr("\"model\""));
  EXPECT_THAT(error, HasSubstr("1 missing: stem.bias [4]"));
  EXPECT_THAT(error, HasSubstr("1 unexpected: \"extra\" [2]"));
  EXPECT_THAT(error, HasSubstr("1 of another shape: stem.weight is [8, 3], must be [4, 3]"));
}

TEST(Bind, ListsTwentyOfAKindAndHowManyMore) {
  std::vector<ExpectedTensor> expected;
  for (int i = 10; i < 45; ++i) expected.push_back({std::string("t") + std::to_string(i), {1}});
  const std::string error = ErrorOf(expected, {});
  EXPECT_THAT(error, HasSubstr("35 missing: t10 [1], "));
  EXPECT_THAT(error, HasSubstr("t29 [1] and 15 more"));
  EXPECT_THAT(error, Not(HasSubstr("t30")));
}

TEST(Bind, LeavesOutIgnoredPrefixesAndOnlyThese) {
  Checkpoint checkpoint;
  checkpoint.tensors = {{"stem.weight", Zeros({4, 3})},
                        {"stem.bias", Zeros({4})},
                        {"head.bias", Zeros({10})},
                        {"auxiliary_head.conv.weight", Zeros({9})}};
  EXPECT_EQ(ErrorOf(kExpected, checkpoint, {"auxiliary_head."}), "");
  EXPECT_THAT(ErrorOf(kExpected, checkpoint), HasSubstr("1 unexpected"));
}

TEST(Bind, HintsAtTheLikelyMistake) {
  Checkpoint classes;
  classes.tensors = {
      {"stem.weight", Zeros({4, 3})}, {"stem.bias", Zeros({4})}, {"head.bias", Zeros({7})}};
  EXPECT_THAT(ErrorOf(kExpected, classes), HasSubstr("number of classes"));

  Checkpoint detection;
  detection.tensors = {{"backbone.stem.weight", Zeros({4, 3})},
                       {"backbone.stem.bias", Zeros({4})},
                       {"backbone.head.bias", Zeros({10})}};
  EXPECT_THAT(ErrorOf(kExpected, detection), HasSubstr("detection or segmentation"));

  Checkpoint wrapped;
  wrapped.tensors = {{"module.stem.weight", Zeros({4, 3})},
                     {"module.stem.bias", Zeros({4})},
                     {"module.head.bias", Zeros({10})}};
  EXPECT_THAT(ErrorOf(kExpected, wrapped), HasSubstr("prefix \"module.\""));

  Checkpoint other;
  other.tensors = {{"x", Zeros({1})}};
  other.other_keys = {"model_ema"};
  EXPECT_THAT(ErrorOf(kExpected, other), HasSubstr("model_ema"));
  EXPECT_THAT(ErrorOf({{"backbone.x", {1}}, {"backbone.y", {1}}}, other),
              Not(HasSubstr("classification")));
  EXPECT_THAT(ErrorOf({{"backbone.x", {1}}}, other), HasSubstr("classification"));
}

}  // namespace
}  // namespace spatialmamba
