// What callers of Detect and Segment see: options, forms of masks and label maps, errors, and
// pictures at the edge of what there is. A server within the process, called over loopback.
#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/masks.h"
#include "tests/server/running_app.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;

v1::DetectRequest DetectRandom(int64_t seed, int height, int width) {
  v1::DetectRequest request;
  AddRaw(seed, height, width, request);
  return request;
}

v1::SegmentRequest SegmentRandom(int64_t seed, int height, int width) {
  v1::SegmentRequest request;
  AddRaw(seed, height, width, request);
  return request;
}

void ExpectInvalid(const CallOutcome& reply, const std::string& field, const std::string& text) {
  EXPECT_EQ(reply.status.error_code(), grpc::INVALID_ARGUMENT) << reply.status.error_message();
  EXPECT_EQ(reply.error.reason(), "INVALID_OPTION");
  EXPECT_THAT(reply.status.error_message(), HasSubstr(text));
  ASSERT_EQ(reply.bad_request.field_violations_size(), 1);
  EXPECT_EQ(reply.bad_request.field_violations(0).field(), field);
}

class DetectTest : public RunningApp {
 protected:
  void StartDetector(const std::string& more = "", bool masks = true) {
    Start(more, TinyDetector(masks));
  }

  // The objects of one picture, which must be answered.
  v1::Detection Objects(const v1::DetectRequest& request) {
    const auto reply = client_->Detect(request);
    EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
    return reply.status.ok() ? reply.response.results(0) : v1::Detection();
  }
};

TEST_F(DetectTest, ObjectsComeByFallingScoreWithNamesAndMasksOfThePicturesSize) {
  StartDetector();
  const v1::Detection found = Objects(DetectRandom(1, 90, 130));
  ASSERT_GT(found.objects_size(), 1);
  EXPECT_EQ(found.image_size().height(), 90);
  EXPECT_EQ(found.image_size().width(), 130);
  for (int i = 0; i < found.objects_size(); ++i) {
    const v1::DetectedObject& object = found.objects(i);
    if (i > 0) {
      EXPECT_LE(object.score(), found.objects(i - 1).score());
    }
    EXPECT_EQ(object.name(), "class_" + std::to_string(object.class_index()));
    EXPECT_EQ(object.category_id(), object.class_index());
    EXPECT_GE(object.box().x1(), 0);
    EXPECT_LE(object.box().x2(), 131);
    EXPECT_EQ(object.mask().coco_rle().height(), 90);
    EXPECT_EQ(object.mask().coco_rle().width(), 130);
    EXPECT_NO_THROW(SetPixels(object.mask().coco_rle()));
  }
}

TEST_F(DetectTest, AThresholdOfOneFindsNothingAndOneOfZeroAsMuchAsTheModelGives) {
  StartDetector();
  v1::DetectRequest request = DetectRandom(1, 90, 130);
  request.set_score_threshold(1);
  EXPECT_EQ(Objects(request).objects_size(), 0);
  request.set_score_threshold(0);
  EXPECT_EQ(Objects(request).objects_size(), 100);
  request.set_max_results(1000000);
  EXPECT_EQ(Objects(request).objects_size(), 100);
}

TEST_F(DetectTest, MaxResultsKeepsTheBest) {
  StartDetector();
  v1::DetectRequest request = DetectRandom(1, 90, 130);
  const v1::Detection all = Objects(request);
  request.set_max_results(2);
  const v1::Detection best = Objects(request);
  ASSERT_EQ(best.objects_size(), 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(best.objects(i).SerializeAsString(), all.objects(i).SerializeAsString());
  }
}

TEST_F(DetectTest, TheClassFilterKeepsTheseAndOneThatMatchesNothingIsAnEmptyAnswer) {
  StartDetector();
  v1::DetectRequest request = DetectRandom(1, 90, 130);
  const v1::Detection all = Objects(request);
  std::vector<int> seen(10);
  for (const v1::DetectedObject& object : all.objects()) ++seen[size_t(object.class_index())];
  const auto some = static_cast<int>(std::max_element(seen.begin(), seen.end()) - seen.begin());
  request.add_class_indices(some);
  const v1::Detection only = Objects(request);
  EXPECT_GE(only.objects_size(), seen[static_cast<size_t>(some)]);
  for (const v1::DetectedObject& object : only.objects()) EXPECT_EQ(object.class_index(), some);
  request.set_score_threshold(0.999F);
  EXPECT_EQ(Objects(request).objects_size(), 0);
}

TEST_F(DetectTest, TheFormsOfAMaskSayTheSamePixels) {
  StartDetector();
  v1::DetectRequest request = DetectRandom(1, 90, 130);
  const v1::Detection runs = Objects(request);
  request.set_mask_encoding(v1::MASK_ENCODING_PNG);
  const v1::Detection png = Objects(request);
  request.set_mask_encoding(v1::MASK_ENCODING_POLYGON);
  const v1::Detection polygons = Objects(request);
  request.set_mask_encoding(v1::MASK_ENCODING_NONE);
  const v1::Detection none = Objects(request);
  ASSERT_EQ(png.objects_size(), runs.objects_size());
  ASSERT_EQ(polygons.objects_size(), runs.objects_size());
  ASSERT_EQ(none.objects_size(), runs.objects_size());
  for (int i = 0; i < runs.objects_size(); ++i) {
    const std::vector<uint16_t> set = SetPixels(runs.objects(i).mask().coco_rle());
    PngPixels pixels = ReadPng(png.objects(i).mask().png());
    EXPECT_FALSE(pixels.palette);
    EXPECT_EQ(pixels.bits, 8);
    for (uint16_t& value : pixels.values) {
      EXPECT_TRUE(value == 0 || value == 255);
      value /= 255;
    }
    EXPECT_EQ(pixels.values, set) << i;
    // Holes are filled in polygons, so they cover the mask.
    const std::vector<uint16_t> filled = SetPixels(polygons.objects(i).mask().polygon(), 90, 130);
    for (size_t p = 0; p < set.size(); ++p) EXPECT_GE(filled[p], set[p]) << i << " at " << p;
    EXPECT_FALSE(none.objects(i).has_mask());
    EXPECT_EQ(none.objects(i).box().x1(), runs.objects(i).box().x1());
  }
}

TEST_F(DetectTest, WrongOptionsNameTheirFieldAndWhatToDo) {
  StartDetector();
  v1::DetectRequest request = DetectRandom(1, 40, 40);
  request.set_score_threshold(1.5);
  ExpectInvalid(client_->Detect(request), "score_threshold", "is 1.5: set 0 to 1");
  request.set_score_threshold(std::numeric_limits<float>::quiet_NaN());
  ExpectInvalid(client_->Detect(request), "score_threshold", "set 0 to 1");
  request.clear_score_threshold();
  request.set_max_results(0);
  ExpectInvalid(client_->Detect(request), "max_results", "set at least 1");
  request.clear_max_results();
  request.add_class_indices(3);
  request.add_class_indices(10);
  ExpectInvalid(client_->Detect(request), "class_indices[1]", "the model has classes 0 to 9");
  request.clear_class_indices();
  request.set_mask_encoding(static_cast<v1::MaskEncoding>(99));
  ExpectInvalid(client_->Detect(request), "mask_encoding", "set COCO_RLE");
}

TEST_F(DetectTest, ADetectorOfBoxesAnswersWithoutMasksAndSaysSoIfAskedForThem) {
  StartDetector("", false);
  v1::DetectRequest request = DetectRandom(1, 90, 130);
  const v1::Detection found = Objects(request);
  ASSERT_GT(found.objects_size(), 0);
  EXPECT_FALSE(found.objects(0).has_mask());
  request.set_mask_encoding(v1::MASK_ENCODING_COCO_RLE);
  ExpectInvalid(client_->Detect(request), "mask_encoding", "the model finds boxes only");
  request.set_mask_encoding(v1::MASK_ENCODING_NONE);
  EXPECT_EQ(Objects(request).objects_size(), found.objects_size());
}

TEST_F(DetectTest, PicturesAtTheEdgeAreAnswered) {
  StartDetector();
  for (const auto& [height, width] :
       {std::pair(1, 1), std::pair(1, 900), std::pair(900, 1), std::pair(3, 5)}) {
    const v1::Detection found = Objects(DetectRandom(2, height, width));
    EXPECT_EQ(found.image_size().height(), height);
    EXPECT_EQ(found.image_size().width(), width);
  }
  for (const int grey : {0, 128, 255}) {
    v1::DetectRequest request;
    *request.add_images()->mutable_raw() = PlainPicture(60, 80, static_cast<char>(grey));
    EXPECT_EQ(Objects(request).image_size().width(), 80);
  }
}

TEST_F(DetectTest, AReplyBeyondItsLimitNamesTheRemedyAndSmallerMasksFit) {
  StartDetector("limits: {reply_bytes: 40KiB}\n");
  v1::DetectRequest request = DetectRandom(1, 700, 700);
  request.set_score_threshold(0);
  request.set_mask_encoding(v1::MASK_ENCODING_PNG);
  const auto reply = client_->Detect(request);
  EXPECT_EQ(reply.error.reason(), "REPLY_TOO_LARGE") << reply.status.error_message();
  EXPECT_THAT(reply.status.error_message(), HasSubstr("max_results"));
  EXPECT_THAT(reply.status.error_message(), HasSubstr("mask_encoding COCO_RLE or NONE"));
  request.set_mask_encoding(v1::MASK_ENCODING_NONE);
  EXPECT_EQ(Objects(request).objects_size(), 100);
}

class SegmentTest : public RunningApp {
 protected:
  v1::Segmentation Map(const v1::SegmentRequest& request) {
    const auto reply = client_->Segment(request);
    EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
    return reply.status.ok() ? reply.response.results(0) : v1::Segmentation();
  }
};

TEST_F(SegmentTest, TheLabelMapIsAPaletteImageAndTheSharesCountItsPixels) {
  TinyModel model = TinySegmenter(3);
  model.metadata["classes"] =
      R"([{"name": "sky", "color": [1, 2, 3]}, "road", {"name": "tree", "color": [9, 8, 7]}])";
  Start("", model);
  const v1::Segmentation result = Map(SegmentRandom(4, 75, 121));
  const PngPixels map = ReadPng(result.label_map());
  EXPECT_TRUE(map.palette);
  EXPECT_EQ(map.bits, 8);
  EXPECT_EQ(map.height, 75);
  EXPECT_EQ(map.width, 121);
  // Class 1 has no colour of its own: PASCAL VOC's.
  EXPECT_EQ(map.colors, (std::vector<int>{1, 2, 3, 128, 0, 0, 9, 8, 7}));
  std::vector<int64_t> counts(3);
  for (const uint16_t label : map.values) ++counts.at(label);
  int64_t sum = 0;
  int last = -1;
  for (const v1::ClassShare& share : result.classes()) {
    EXPECT_GT(share.index(), last);
    last = share.index();
    EXPECT_GT(share.pixels(), 0);
    EXPECT_EQ(share.pixels(), counts[static_cast<size_t>(share.index())]);
    EXPECT_EQ(share.name(), (std::vector<std::string>{"sky", "road", "tree"})[size_t(last)]);
    sum += share.pixels();
  }
  EXPECT_EQ(sum, 75 * 121);
  EXPECT_FALSE(result.has_confidence());
}

TEST_F(SegmentTest, MoreThan256ClassesMakeA16BitMap) {
  Start("", TinySegmenter(300));
  const PngPixels map = ReadPng(Map(SegmentRandom(4, 75, 121)).label_map());
  EXPECT_FALSE(map.palette);
  EXPECT_EQ(map.bits, 16);
  EXPECT_LT(*std::max_element(map.values.begin(), map.values.end()), 300);
}

TEST_F(SegmentTest, TheConfidenceMapComesOnRequestAtAQuarterOfTheInput) {
  Start("", TinySegmenter());
  v1::SegmentRequest request = SegmentRandom(4, 64, 128);  // the network's input, too
  request.set_include_confidence(true);
  const v1::ConfidenceMap map = Map(request).confidence();
  EXPECT_EQ(map.height(), 16);
  EXPECT_EQ(map.width(), 32);
  ASSERT_EQ(map.values().size(), 16U * 32U);
  // The best of ten classes has at least a tenth.
  for (const char value : map.values()) EXPECT_GE(static_cast<uint8_t>(value), 25);
}

TEST_F(SegmentTest, PicturesAtTheEdgeAreAnswered) {
  Start("", TinySegmenter());
  for (const auto& [height, width] :
       {std::pair(1, 1), std::pair(1, 900), std::pair(900, 1), std::pair(3, 5)}) {
    const PngPixels map = ReadPng(Map(SegmentRandom(2, height, width)).label_map());
    EXPECT_EQ(map.height, height);
    EXPECT_EQ(map.width, width);
  }
  v1::SegmentRequest request;
  *request.add_images()->mutable_raw() = PlainPicture(60, 80, '\0');
  EXPECT_EQ(Map(request).image_size().width(), 80);
}

TEST_F(SegmentTest, AReplyBeyondItsLimitNamesTheRemedy) {
  Start("limits: {reply_bytes: 2KiB}\n", TinySegmenter());
  const auto reply = client_->Segment(SegmentRandom(1, 300, 400));
  EXPECT_EQ(reply.error.reason(), "REPLY_TOO_LARGE") << reply.status.error_message();
  EXPECT_THAT(reply.status.error_message(), HasSubstr("send a smaller picture"));
}

// Three models behind one server.
class MixedTest : public RunningApp {
 protected:
  void StartAll() {
    WriteTinyModel(folder_.path() / "detector.safetensors", TinyDetector());
    WriteTinyModel(folder_.path() / "segmenter.safetensors", TinySegmenter());
    WriteTinyModel(folder_.path() / "classifier.safetensors");
    app_ = StartApp(
        "listen: 127.0.0.1:0\n"
        "admin: 127.0.0.1:0\n"
        "log: {level: error}\n"
        "threads: 2\n"
        "decode_threads: 2\n"
        "models:\n"
        "  - {name: detector, weights: detector.safetensors}\n"
        "  - {name: segmenter, weights: segmenter.safetensors}\n"
        "  - {name: classifier, weights: classifier.safetensors}\n",
        folder_.path());
    ASSERT_NE(app_, nullptr);
    client_ = std::make_unique<TestClient>(app_->grpc_address().port);
  }

  // What the task that belongs to the number says of a picture of a size of its own; "" if it
  // fails.
  std::string Ask(int number) const {
    const int height = 20 + 13 * (number % 7);
    const int width = 150 - 11 * (number % 10);
    if (number % 3 == 0) {
      v1::ClassifyRequest request;
      AddRaw(number, height, width, request);
      request.set_include_logits(true);
      const Reply reply = client_->Classify(request);
      return reply.status.ok() ? reply.response.SerializeAsString() : "";
    }
    if (number % 3 == 1) {
      const auto reply = client_->Detect(DetectRandom(number, height, width));
      return reply.status.ok() ? reply.response.SerializeAsString() : "";
    }
    const auto reply = client_->Segment(SegmentRandom(number, height, width));
    return reply.status.ok() ? reply.response.SerializeAsString() : "";
  }
};

TEST_F(MixedTest, EveryAnswerOfAMixedLoadEqualsTheOneComputedAlone) {
  StartAll();
  constexpr int kRequests = 30;
  std::vector<std::string> alone;
  for (int i = 0; i < kRequests; ++i) alone.push_back(Ask(i));
  std::vector<std::string> together(kRequests);
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < kRequests; ++i) {
      callers.emplace_back([&, i] { together[static_cast<size_t>(i)] = Ask(i); });
    }
  }
  for (size_t i = 0; i < kRequests; ++i) {
    EXPECT_FALSE(alone[i].empty()) << i;
    EXPECT_EQ(together[i], alone[i]) << i;
  }
  for (const char* model : {"detector", "segmenter", "classifier"}) {
    const std::string name = std::string("{model=\"") + model + "\"";
    EXPECT_TRUE(Eventually(
        [&] { return Metric("spatialmamba_images_total" + name + "}") == 2 * kRequests / 3; }));
    for (const char* stage : {"decode", "preprocess", "queue", "inference", "postprocess"}) {
      EXPECT_GT(
          Metric("spatialmamba_stage_duration_seconds_count" + name + ",stage=\"" + stage + "\"}"),
          0)
          << stage;
    }
  }
}

TEST_F(MixedTest, ModelsSayWhatTheyDoAndAreServedByTheirTaskAlone) {
  StartAll();
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  ASSERT_TRUE(client_->stub().ListModels(&context, {}, &models).ok());
  ASSERT_EQ(models.models_size(), 3);
  EXPECT_EQ(models.models(0).task(), v1::TASK_DETECT);
  EXPECT_EQ(models.models(0).input().scale_long(), 160);
  EXPECT_EQ(models.models(0).input().pad_multiple(), 32);
  EXPECT_EQ(models.models(1).task(), v1::TASK_SEGMENT);
  EXPECT_EQ(models.models(1).input().scale_short(), 64);
  v1::DetectRequest request = DetectRandom(1, 30, 30);
  request.mutable_model()->set_name("segmenter");
  const auto reply = client_->Detect(request);
  EXPECT_EQ(reply.status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_EQ(reply.error.reason(), "TASK_NOT_SUPPORTED");
}

}  // namespace
}  // namespace spatialmamba
