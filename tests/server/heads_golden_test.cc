// Detection and segmentation the whole way against the oracle: pictures in by gRPC, objects and
// label maps out, for weights and pictures that both sides make from the same seeds.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/net/model_spec.h"
#include "tests/oracle/golden.h"
#include "tests/server/masks.h"
#include "tests/server/running_app.h"

namespace spatialmamba {
namespace {

// See tests/oracle/README.md.
constexpr double kBoxTolerance = 0.02;
constexpr double kScoreTolerance = 5e-4;

// The published heads, with the case's backbone, classes and input size.
TinyModel ModelOf(const nlohmann::json& facts, VisionTask task) {
  TinyModel model;
  model.variant = *FindVariant(facts["variant"].get<std::string>());
  model.classes = facts["classes"].get<int64_t>();
  model.seed = facts["seed"].get<int64_t>();
  model.task = task;
  model.metadata = {
      {"task", task == VisionTask::kDetect ? "detect" : "segment"},
      {"variant",
       nlohmann::json({{"dim", model.variant.dim}, {"depths", model.variant.depths}}).dump()},
      {"preprocess", nlohmann::json({{"scale", facts["scale"]}}).dump()}};
  return model;
}

template <typename Request>
Request RequestOf(const nlohmann::json& facts) {
  Request request;
  AddRaw(facts["image_seed"].get<int64_t>(), facts["height"].get<int>(), facts["width"].get<int>(),
         request);
  return request;
}

std::string TestName(const testing::TestParamInfo<std::string>& info) { return info.param; }

class GoldenDetectTest : public RunningApp, public ::testing::WithParamInterface<std::string> {};

TEST_P(GoldenDetectTest, ObjectsAgreeWithTheOracle) {
  const oracle::Golden golden = oracle::ReadGolden(GetParam());
  const nlohmann::json& facts = golden.facts["case"];
  Start("", ModelOf(facts, VisionTask::kDetect));
  const auto reply = client_->Detect(RequestOf<v1::DetectRequest>(facts));
  ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
  const v1::Detection& result = reply.response.results(0);
  const std::vector<float>& labels = golden.tensors.at("labels").values;
  const std::vector<float>& scores = golden.tensors.at("scores").values;
  const std::vector<float>& boxes = golden.tensors.at("boxes").values;
  ASSERT_EQ(result.objects_size(), static_cast<int>(labels.size()));
  for (int i = 0; i < result.objects_size(); ++i) {
    const auto at = static_cast<size_t>(i);
    const v1::DetectedObject& object = result.objects(i);
    EXPECT_EQ(object.class_index(), static_cast<int>(labels[at])) << i;
    EXPECT_NEAR(object.score(), scores[at], kScoreTolerance) << i;
    EXPECT_NEAR(object.box().x1(), boxes[4 * at], kBoxTolerance) << i;
    EXPECT_NEAR(object.box().y1(), boxes[4 * at + 1], kBoxTolerance) << i;
    EXPECT_NEAR(object.box().x2(), boxes[4 * at + 2], kBoxTolerance) << i;
    EXPECT_NEAR(object.box().y2(), boxes[4 * at + 3], kBoxTolerance) << i;
    const nlohmann::json& mask = golden.facts["expected"]["masks"][at];
    v1::CocoRle expected = object.mask().coco_rle();
    EXPECT_EQ(expected.height(), facts["height"].get<int>());
    EXPECT_EQ(expected.width(), facts["width"].get<int>());
    expected.set_counts(mask["counts"].get<std::string>());
    EXPECT_LE(DifferentPixels(SetPixels(object.mask().coco_rle()), SetPixels(expected)),
              mask["doubtful"].get<int64_t>())
        << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, GoldenDetectTest,
                         ::testing::Values("detection_micro_landscape", "detection_micro_portrait",
                                           "detection_micro_thumbnail", "detection_micro_wide",
                                           "detection_micro_twenty_classes",
                                           "detection_micro_nothing", "detection_micro_many"),
                         TestName);

class GoldenSegmentTest : public RunningApp, public ::testing::WithParamInterface<std::string> {};

TEST_P(GoldenSegmentTest, LabelsAgreeWithTheOracle) {
  const oracle::Golden golden = oracle::ReadGolden(GetParam());
  const nlohmann::json& facts = golden.facts["case"];
  Start("", ModelOf(facts, VisionTask::kSegment));
  const auto reply = client_->Segment(RequestOf<v1::SegmentRequest>(facts));
  ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
  const v1::Segmentation& result = reply.response.results(0);
  const PngPixels actual = ReadPng(result.label_map());
  const PngPixels expected = ReadPng(ReadFile("tests/oracle/golden/" + GetParam() + ".png"));
  EXPECT_EQ(actual.height, facts["height"].get<int64_t>());
  EXPECT_EQ(actual.width, facts["width"].get<int64_t>());
  ASSERT_EQ(actual.values.size(), expected.values.size());
  EXPECT_LE(static_cast<double>(DifferentPixels(actual.values, expected.values)),
            golden.facts["expected"]["doubtful"].get<double>() *
                static_cast<double>(expected.values.size()));
}

INSTANTIATE_TEST_SUITE_P(, GoldenSegmentTest,
                         ::testing::Values("segmentation_micro_landscape",
                                           "segmentation_micro_portrait",
                                           "segmentation_micro_wide_nineteen_classes"),
                         TestName);

}  // namespace
}  // namespace spatialmamba
