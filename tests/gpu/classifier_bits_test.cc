// An image's logits are the same bits whatever its neighbours, its place, the size of the batch,
// the capacity that launches are sized for, and whether they are launched or replayed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "tests/gpu/classifier_on_gpu.h"

namespace spatialmamba::gpu {
namespace {

constexpr int64_t kClasses = 37;

struct Param {
  const char* variant;
  DeviceType type;
};

class ClassifierBits : public GpuTestWith<Param> {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped()) model_ = &SharedClassifier(GetParam().variant, kClasses, 7, GetParam().type);
  }

  const ClassifierOnGpu& model() const { return *model_; }

  // Those of image `i`.
  std::vector<float> Row(const std::vector<float>& logits, int64_t i) const {
    return {logits.begin() + i * kClasses, logits.begin() + (i + 1) * kClasses};
  }
  std::vector<float> Alone(const Batch& batch, int64_t i) const {
    return Logits(model(), batch.Image(static_cast<size_t>(i)));
  }

 private:
  const ClassifierOnGpu* model_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(
    , ClassifierBits,
    testing::Values(Param{"micro", DeviceType::kFloat32}, Param{"micro", DeviceType::kBfloat16},
                    Param{"tiny", DeviceType::kFloat32}, Param{"tiny", DeviceType::kBfloat16},
                    Param{"base", DeviceType::kFloat32}, Param{"base", DeviceType::kBfloat16}),
    [](const auto& test) { return std::string(test.param.variant) + "_" + Name(test.param.type); });

MATCHER_P(HasBitsOf, expected, "") {
  if (arg.size() != expected.size()) return false;
  size_t differing = 0;
  double largest = 0;
  for (size_t i = 0; i < arg.size(); ++i) {
    if (std::memcmp(&arg[i], &expected[i], sizeof(float)) == 0) continue;
    ++differing;
    largest = std::max(largest, std::abs(double{arg[i]} - double{expected[i]}));
  }
  if (differing > 0) {
    *result_listener << differing << " of " << arg.size() << " differ, by up to " << largest;
  }
  return differing == 0;
}

bool IsFinite(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float x) { return std::isfinite(x); });
}

// Odd and thin ones among them; no two of one shape.
Batch RaggedBatch() {
  return Pictures(100,
                  {{33, 40}, {1, 1}, {97, 131}, {5, 3}, {1, 70}, {64, 32}, {130, 2}, {32, 32}});
}

TEST_P(ClassifierBits, RaggedBatchEqualsOneByOne) {
  const Batch batch = RaggedBatch();
  const std::vector<float> together = Logits(model(), batch);
  EXPECT_TRUE(IsFinite(together));
  for (int64_t i = 0; i < batch.images(); ++i) {
    EXPECT_THAT(Row(together, i), HasBitsOf(Alone(batch, i))) << "image " << i;
  }
}

TEST_P(ClassifierBits, PlaceInTheBatchDoesNotMatter) {
  const Batch batch = RaggedBatch();
  Batch reversed;
  for (int64_t i = batch.images(); i-- > 0;) reversed.Add(batch.Image(static_cast<size_t>(i)));
  const std::vector<float> forwards = Logits(model(), batch);
  const std::vector<float> backwards = Logits(model(), reversed);
  for (int64_t i = 0; i < batch.images(); ++i) {
    EXPECT_THAT(Row(backwards, batch.images() - 1 - i), HasBitsOf(Row(forwards, i)));
  }
}

TEST_P(ClassifierBits, RunToRun) {
  const Batch batch = RaggedBatch();
  ClassifierRuns runs(model(), DeviceCapacity::Of(batch.spans));
  const std::vector<float> first = runs.Logits(batch);
  for (int i = 0; i < 5; ++i) EXPECT_THAT(runs.Logits(batch), HasBitsOf(first));
}

TEST_P(ClassifierBits, CapacityDoesNotMatter) {
  const Batch batch = RaggedBatch();
  const std::vector<float> least = Logits(model(), batch);
  Batch larger = batch;
  larger.Add(Picture(1, 150, 170));
  larger.Add(batch);
  EXPECT_THAT(ClassifierRuns(model(), DeviceCapacity::Of(larger.spans)).Logits(batch),
              HasBitsOf(least));
}

TEST_P(ClassifierBits, ReplaysOfOneGraphEqualDirectLaunches) {
  const Batch batch = RaggedBatch();
  ClassifierRuns runs(model(), DeviceCapacity::Of(batch.spans));
  EXPECT_THAT(runs.Logits(batch), HasBitsOf(Logits(model(), batch)));
  // The graph is captured with the first batch in the device's memory; the others come after it.
  EXPECT_THAT(runs.Logits(batch, How::kReplayed), HasBitsOf(Logits(model(), batch)));
  for (const Batch& other : {Pictures(200, {{60, 70}, {31, 33}, {2, 2}}), Picture(300, 90, 130),
                             Picture(301, 1, 1), batch}) {
    EXPECT_THAT(runs.Logits(other, How::kReplayed), HasBitsOf(Logits(model(), other)));
  }
}

// Captured before any batch was ever there.
TEST_P(ClassifierBits, GraphOfAnEmptyGeometry) {
  const Batch batch = RaggedBatch();
  ClassifierRuns warm(model(), DeviceCapacity::Of(batch.spans));
  const std::vector<float> expected = warm.Logits(batch);
  ClassifierRuns runs(model(), DeviceCapacity::Of(batch.spans));
  EXPECT_THAT(runs.Logits(batch, How::kReplayed), HasBitsOf(expected));
}

TEST_P(ClassifierBits, EveryBatchSizeUpTo64) {
  Batch batch;
  std::vector<float> expected;
  for (int64_t i = 0; i < 64; ++i) {
    const Batch one = Picture(400 + i, 33, 32);
    const std::vector<float> alone = Logits(model(), one);
    expected.insert(expected.end(), alone.begin(), alone.end());
    batch.Add(one);
    EXPECT_THAT(Logits(model(), batch), HasBitsOf(expected)) << "batch of " << i + 1;
  }
}

TEST_P(ClassifierBits, BatchesAtTheUsualSize) {
  Batch batch;
  for (int64_t i = 0; i < 64; ++i) {
    batch.Add(i < 8 ? Picture(500 + i, 224, 224) : batch.Image(static_cast<size_t>(i % 8)));
  }
  const std::vector<float> all = Logits(model(), batch);
  EXPECT_TRUE(IsFinite(all));
  for (int64_t i = 0; i < 64; ++i) EXPECT_THAT(Row(all, i), HasBitsOf(Row(all, i % 8)));
  Batch few;
  for (int64_t i = 0; i < 8; ++i) {
    few.Add(batch.Image(static_cast<size_t>(i)));
    const std::vector<float> logits = Logits(model(), few);
    for (int64_t j = 0; j <= i; ++j) EXPECT_THAT(Row(logits, j), HasBitsOf(Row(all, j)));
  }
}

}  // namespace
}  // namespace spatialmamba::gpu
