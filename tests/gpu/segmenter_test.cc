// Segmentation on a GPU: the golden cases' logits and labels, and that an image's are the same bits
// whatever else is in the batch.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/gpu/heads_on_gpu.h"
#include "tests/oracle/golden.h"

namespace spatialmamba::gpu {
namespace {

constexpr double kLogitTolerance = 5e-5;     // of tests/oracle/README.md
constexpr double kBfloat16Tolerance = 3e-2;  // of the largest logit

class SegmenterGolden : public GpuTestWith<std::string> {
 protected:
  SegmentOutput Answer(DeviceType type) {
    const nlohmann::json& facts = golden_.facts["case"];
    const ModelSpec spec =
        SpecOf(VisionTask::kSegment, facts["variant"], facts["classes"].get<int64_t>());
    const CudaUperNet& network = SharedSegmenter(spec, facts["seed"].get<int64_t>(), type);
    return SegmenterRuns(network, DeviceCapacity::Of(input_.batch.spans))
        .Answers(input_.batch, {{.original = input_.original, .logits = true}})[0];
  }

  // [height, width, classes] -> [classes, height, width], as the oracle keeps them.
  std::vector<float> ChannelsFirst(const std::vector<float>& logits) const {
    const auto classes = golden_.facts["case"]["classes"].get<size_t>();
    const size_t tokens = logits.size() / classes;
    std::vector<float> values(logits.size());
    for (size_t i = 0; i < logits.size(); ++i)
      values[i % classes * tokens + i / classes] = logits[i];
    return values;
  }

  oracle::Golden golden_ = oracle::ReadGolden(GetParam());
  GoldenInput input_ = ReadGoldenInput(GetParam());
};
INSTANTIATE_TEST_SUITE_P(, SegmenterGolden,
                         testing::Values("segmentation_micro_landscape",
                                         "segmentation_micro_portrait",
                                         "segmentation_micro_wide_nineteen_classes",
                                         "segmentation_tiny_full"),
                         [](const auto& test) { return test.param; });

TEST_P(SegmenterGolden, AnswersInFloat32) {
  const SegmentOutput output = Answer(DeviceType::kFloat32);
  const double error = oracle::LargestError(golden_, "head", ChannelsFirst(output.logits));
  EXPECT_LE(error, kLogitTolerance);
  RecordProperty("logit_error", std::to_string(error));
  const std::vector<uint8_t> labels = ReadGoldenLabels(GetParam());
  ASSERT_EQ(output.labels.size(), labels.size());
  int differ = 0;
  for (size_t i = 0; i < labels.size(); ++i) differ += output.labels[i] != labels[i] ? 1 : 0;
  EXPECT_LE(differ, golden_.facts["expected"]["doubtful"].get<double>() *
                        static_cast<double>(labels.size()));
  RecordProperty("labels_that_differ", differ);
  std::vector<int64_t> counts(output.class_pixels.size());
  for (const uint16_t label : output.labels) ++counts[label];
  EXPECT_EQ(output.class_pixels, counts);
}

TEST_P(SegmenterGolden, LogitsInBfloat16) {
  const SegmentOutput output = Answer(DeviceType::kBfloat16);
  const double largest = Largest(golden_.tensors.at("head").values);
  const double error = oracle::LargestError(golden_, "head", ChannelsFirst(output.logits));
  EXPECT_LE(error, kBfloat16Tolerance * largest);
  RecordProperty("relative_error", std::to_string(error / largest));
}

struct Param {
  const char* variant;
  DeviceType type;
};

class SegmenterBits : public GpuTestWith<Param> {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    network_ =
        &SharedSegmenter(SpecOf(VisionTask::kSegment, GetParam().variant, 19), 93, GetParam().type);
  }

  const CudaUperNet& network() const { return *network_; }
  SegmentOutput Alone(size_t i) const {
    const Batch one = batch_.Image(i);
    return SegmenterRuns(network(), DeviceCapacity::Of(one.spans)).Answers(one, {queries_[i]})[0];
  }

  const Batch batch_ = Pictures(11, {{64, 96}, {20, 200}, {128, 85}, {40, 42}, {1, 1}});
  const std::vector<SegmentQuery> queries_ = {{.original = {40, 60}},
                                              {.original = {9, 90}, .confidence = true},
                                              {.original = {7, 300}, .logits = true},
                                              {.original = {200, 210}, .confidence = true},
                                              {.original = {100, 70}}};

 private:
  const CudaUperNet* network_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(
    , SegmenterBits,
    testing::Values(Param{"micro", DeviceType::kFloat32}, Param{"micro", DeviceType::kBfloat16},
                    Param{"tiny", DeviceType::kFloat32}, Param{"tiny", DeviceType::kBfloat16}),
    [](const auto& test) { return std::string(test.param.variant) + "_" + Name(test.param.type); });

TEST_P(SegmenterBits, RaggedBatchEqualsOneByOneLaunchedAndReplayed) {
  SegmenterRuns runs(network(), DeviceCapacity::Of(batch_.spans));
  const std::vector<SegmentOutput> launched = runs.Answers(batch_, queries_);
  for (size_t i = 0; i < queries_.size(); ++i) {
    EXPECT_EQ(launched[i], Alone(i)) << "image " << i;
  }
  EXPECT_EQ(runs.Answers(batch_, queries_, How::kReplayed), launched);
  EXPECT_EQ(runs.Answers(batch_, queries_, How::kReplayed), launched);
  Batch fewer = batch_.Image(3);
  fewer.Add(batch_.Image(2));
  const std::vector<SegmentOutput> others =
      runs.Answers(fewer, {queries_[3], queries_[2]}, How::kReplayed);
  EXPECT_EQ(others[0], launched[3]);
  EXPECT_EQ(others[1], launched[2]);
}

}  // namespace
}  // namespace spatialmamba::gpu
