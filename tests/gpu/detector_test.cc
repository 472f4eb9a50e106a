// Detection on a GPU: the golden cases' answers, and that an image's are the same bits whatever
// else is in the batch.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/gpu/heads_on_gpu.h"
#include "tests/oracle/golden.h"

namespace spatialmamba::gpu {
namespace {

// Tolerances of tests/oracle/README.md.
constexpr double kBoxTolerance = 0.02;  // in pixels of the picture
constexpr double kScoreTolerance = 5e-4;
constexpr double kMaskTolerance = 2e-4;

constexpr auto kMaskPixels = static_cast<size_t>(kMaskSide * kMaskSide);

class DetectorGolden : public GpuTestWith<std::string> {
 protected:
  DetectOutput Answer(DeviceType type) {
    const nlohmann::json& facts = golden_.facts["case"];
    const ModelSpec spec =
        SpecOf(VisionTask::kDetect, facts["variant"], facts["classes"].get<int64_t>());
    const CudaMaskRcnn& network = SharedDetector(spec, facts["seed"].get<int64_t>(), type);
    return DetectorRuns(network, DeviceCapacity::Of(input_.batch.spans))
        .Answers(input_.batch, {{.valid = input_.valid}})[0];
  }

  // Corner by corner in pixels of the original picture, as the oracle keeps them.
  std::vector<float> Boxes(const DetectOutput& output) const {
    const double x = double(input_.valid.width) / double(input_.original.width);
    const double y = double(input_.valid.height) / double(input_.original.height);
    std::vector<float> corners;
    for (const Detection& found : output.detections) {
      corners.insert(
          corners.end(),
          {static_cast<float>(found.box.left / x), static_cast<float>(found.box.top / y),
           static_cast<float>(found.box.right / x), static_cast<float>(found.box.bottom / y)});
    }
    return corners;
  }

  oracle::Golden golden_ = oracle::ReadGolden(GetParam());
  GoldenInput input_ = ReadGoldenInput(GetParam());
};
INSTANTIATE_TEST_SUITE_P(, DetectorGolden,
                         testing::Values("detection_micro_landscape", "detection_micro_portrait",
                                         "detection_micro_thumbnail", "detection_micro_wide",
                                         "detection_micro_twenty_classes",
                                         "detection_micro_nothing", "detection_micro_many",
                                         "detection_tiny_small", "detection_tiny_full"),
                         [](const auto& test) { return test.param; });

TEST_P(DetectorGolden, AnswersInFloat32) {
  const DetectOutput output = Answer(DeviceType::kFloat32);
  const std::vector<float>& labels = golden_.tensors.at("labels").values;
  std::vector<float> found;
  std::vector<float> scores;
  for (const Detection& detection : output.detections) {
    found.push_back(static_cast<float>(detection.label));
    scores.push_back(detection.score);
  }
  ASSERT_EQ(found, labels);
  const double score_error = LargestDifference(scores, golden_.tensors.at("scores").values);
  const double box_error = oracle::LargestError(golden_, "boxes", Boxes(output));
  EXPECT_LE(score_error, kScoreTolerance);
  EXPECT_LE(box_error, kBoxTolerance);
  RecordProperty("score_error", std::to_string(score_error));
  RecordProperty("box_error", std::to_string(box_error));
  ASSERT_EQ(output.mask_probabilities.size(), labels.size() * kMaskPixels);
  if (labels.empty()) return;
  std::vector<float> stored = output.mask_probabilities;
  stored.resize(std::min<size_t>(labels.size(), 8) * kMaskPixels);
  const double mask_error = oracle::LargestError(golden_, "mask_probabilities", stored);
  EXPECT_LE(mask_error, kMaskTolerance);
  RecordProperty("mask_error", std::to_string(mask_error));
}

// Random weights amplify the roundings so much that other boxes are found; the network's answer is
// sound all the same.
TEST_P(DetectorGolden, AnswersInBfloat16AreSound) {
  const DetectOutput output = Answer(DeviceType::kBfloat16);
  EXPECT_EQ(output.mask_probabilities.size(), output.detections.size() * kMaskPixels);
  for (const float probability : output.mask_probabilities) {
    EXPECT_TRUE(probability >= 0 && probability <= 1);
  }
  for (size_t i = 0; i < output.detections.size(); ++i) {
    const Detection& found = output.detections[i];
    EXPECT_TRUE(found.score > 0.05F && found.score <= 1);
    EXPECT_TRUE(i == 0 || found.score <= output.detections[i - 1].score);
    EXPECT_GE(found.box.left, 0);
    EXPECT_LE(found.box.right, static_cast<float>(input_.valid.width));
    EXPECT_LE(found.box.bottom, static_cast<float>(input_.valid.height));
  }
  RecordProperty("found", std::to_string(output.detections.size()));
}

struct Param {
  const char* variant;
  DeviceType type;
};

class DetectorBits : public GpuTestWith<Param> {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    network_ =
        &SharedDetector(SpecOf(VisionTask::kDetect, GetParam().variant, 80), 389, GetParam().type);
  }

  const CudaMaskRcnn& network() const { return *network_; }
  DetectOutput Alone(size_t i) const {
    const Batch one = batch_.Image(i);
    return DetectorRuns(network(), DeviceCapacity::Of(one.spans)).Answers(one, {queries_[i]})[0];
  }

  // Each with a query of its own.
  const Batch batch_ = Pictures(11, {{96, 160}, {256, 256}, {32, 224}, {128, 96}, {1, 1}});
  const std::vector<DetectQuery> queries_ = {
      {.valid = {90, 150}, .score_threshold = 0.01F},
      {.valid = {256, 200}},
      {.valid = {20, 200}, .score_threshold = 0.02F, .masks = false},
      {.valid = {128, 90}, .score_threshold = 0.0F, .max_detections = 3},
      {.valid = {1, 1}, .score_threshold = 0.0F, .classes = {{1, 2, 3}}}};

 private:
  const CudaMaskRcnn* network_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(
    , DetectorBits,
    testing::Values(Param{"micro", DeviceType::kFloat32}, Param{"micro", DeviceType::kBfloat16},
                    Param{"tiny", DeviceType::kFloat32}, Param{"tiny", DeviceType::kBfloat16}),
    [](const auto& test) { return std::string(test.param.variant) + "_" + Name(test.param.type); });

TEST_P(DetectorBits, RaggedBatchEqualsOneByOneLaunchedAndReplayed) {
  DetectorRuns runs(network(), DeviceCapacity::Of(batch_.spans));
  const std::vector<DetectOutput> launched = runs.Answers(batch_, queries_);
  size_t found = 0;
  for (size_t i = 0; i < queries_.size(); ++i) {
    EXPECT_EQ(launched[i], Alone(i)) << "image " << i;
    found += launched[i].detections.size();
  }
  EXPECT_GT(found, 20U);
  EXPECT_EQ(launched[3].detections.size(), 3U);
  EXPECT_TRUE(launched[2].mask_probabilities.empty());
  EXPECT_EQ(runs.Answers(batch_, queries_, How::kReplayed), launched);
  EXPECT_EQ(runs.Answers(batch_, queries_, How::kReplayed), launched);
  // Another batch, smaller, by the same graph.
  Batch fewer = batch_.Image(3);
  fewer.Add(batch_.Image(0));
  const std::vector<DetectOutput> others =
      runs.Answers(fewer, {queries_[3], queries_[0]}, How::kReplayed);
  EXPECT_EQ(others[0], launched[3]);
  EXPECT_EQ(others[1], launched[0]);
}

}  // namespace
}  // namespace spatialmamba::gpu
