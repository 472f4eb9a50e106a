// Large pictures that are cut into tiles, as callers see them.
#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/image/png_writer.h"
#include "tests/server/masks.h"
#include "tests/server/running_app.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;

template <typename Request>
Request Tiled(int64_t seed, int height, int width, int size, int overlap) {
  Request request;
  AddRaw(seed, height, width, request);
  request.mutable_tiling()->set_tile_size(size);
  request.mutable_tiling()->set_overlap(overlap);
  return request;
}

// A part of a raw picture.
v1::RawImage Cut(const v1::RawImage& picture, int top, int left, int height, int width) {
  v1::RawImage part = picture;
  part.set_height(height);
  part.set_width(width);
  part.clear_pixels();
  for (int y = top; y < top + height; ++y) {
    part.mutable_pixels()->append(picture.pixels(),
                                  static_cast<size_t>((y * picture.width() + left) * 3),
                                  static_cast<size_t>(width * 3));
  }
  return part;
}

class TilingTest : public RunningApp {
 protected:
  v1::Segmentation Labels(const v1::SegmentRequest& request) {
    const auto reply = client_->Segment(request);
    EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
    return reply.status.ok() ? reply.response.results(0) : v1::Segmentation();
  }
  v1::Detection Objects(const v1::DetectRequest& request) {
    const auto reply = client_->Detect(request);
    EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
    return reply.status.ok() ? reply.response.results(0) : v1::Detection();
  }
};

TEST_F(TilingTest, APictureThatFitsIntoATileIsAnsweredAsWithoutTiling) {
  Start("", TinySegmenter());
  auto request = Tiled<v1::SegmentRequest>(1, 90, 70, 96, 10);
  const v1::Segmentation tiled = Labels(request);
  request.clear_tiling();
  EXPECT_EQ(tiled.label_map(), Labels(request).label_map());
}

TEST_F(TilingTest, WhereATileIsAloneTheLabelsAreThoseOfTheTileSentAsAPicture) {
  Start("", TinySegmenter());
  auto request = Tiled<v1::SegmentRequest>(2, 64, 112, 64, 16);
  request.set_explain(true);
  const v1::Segmentation tiled = Labels(request);
  EXPECT_EQ(tiled.explanation().tiles(), 2);
  EXPECT_GE(tiled.explanation().batches(), 1);
  EXPECT_EQ(tiled.image_size().width(), 112);
  const PngPixels whole = ReadPng(tiled.label_map());
  ASSERT_EQ(whole.values.size(), 64U * 112U);
  int64_t pixels = 0;
  for (const v1::ClassShare& share : tiled.classes()) pixels += share.pixels();
  EXPECT_EQ(pixels, 64 * 112);

  v1::SegmentRequest left;
  *left.add_images()->mutable_raw() = Cut(request.images(0).raw(), 0, 0, 64, 64);
  v1::SegmentRequest right;
  *right.add_images()->mutable_raw() = Cut(request.images(0).raw(), 0, 48, 64, 64);
  const PngPixels left_labels = ReadPng(Labels(left).label_map());
  const PngPixels right_labels = ReadPng(Labels(right).label_map());
  for (size_t y = 0; y < 64; ++y) {
    for (size_t x = 0; x < 48; ++x) {
      EXPECT_EQ(whole.values[y * 112 + x], left_labels.values[y * 64 + x]);
      EXPECT_EQ(whole.values[y * 112 + 64 + x], right_labels.values[y * 64 + 16 + x]);
    }
  }
}

TEST_F(TilingTest, ObjectsOfATileComeInThePicturesPixels) {
  Start("", TinyDetector());
  // Tiles that share nothing, so that nothing is joined.
  auto request = Tiled<v1::DetectRequest>(3, 80, 160, 80, 0);
  request.set_score_threshold(0.2F);
  const v1::Detection tiled = Objects(request);
  v1::DetectRequest alone;
  *alone.add_images()->mutable_raw() = Cut(request.images(0).raw(), 0, 80, 80, 80);
  alone.set_score_threshold(0.2F);
  const v1::Detection right = Objects(alone);
  ASSERT_GT(right.objects_size(), 0);
  for (const v1::DetectedObject& object : right.objects()) {
    const auto same = [&](const v1::DetectedObject& other) {
      return other.score() == object.score() && other.class_index() == object.class_index() &&
             other.box().x1() == object.box().x1() + 80 && other.box().y1() == object.box().y1();
    };
    const auto found = std::find_if(tiled.objects().begin(), tiled.objects().end(), same);
    ASSERT_NE(found, tiled.objects().end());
    EXPECT_EQ(found->mask().coco_rle().width(), 160);
    const std::vector<uint16_t> own = SetPixels(object.mask().coco_rle());
    const std::vector<uint16_t> placed = SetPixels(found->mask().coco_rle());
    for (size_t y = 0; y < 80; ++y) {
      for (size_t x = 0; x < 160; ++x) {
        EXPECT_EQ(placed[y * 160 + x], x < 80 ? 0 : own[y * 80 + x - 80]);
      }
    }
  }
}

TEST_F(TilingTest, MaxResultsCountsForThePictureAndMayExceedWhatATileGives) {
  Start("", TinyDetector());
  auto request = Tiled<v1::DetectRequest>(4, 160, 160, 80, 8);
  request.set_score_threshold(0);
  EXPECT_GT(Objects(request).objects_size(), 100);
  request.set_max_results(7);
  EXPECT_EQ(Objects(request).objects_size(), 7);
}

TEST_F(TilingTest, TheAnswerDependsNeitherOnTheBatchesNorOnNeighbours) {
  auto request = Tiled<v1::SegmentRequest>(5, 150, 170, 64, 9);
  *request.add_images()->mutable_raw() = RandomPicture(6, 70, 200);
  std::string first;
  for (const char* batches :
       {"batching: {max_batch_size: 1}\n", "batching: {max_batch_size: 8}\n"}) {
    app_.reset();
    Start(batches, TinySegmenter());
    std::vector<std::thread> others;
    for (int i = 0; i < 3; ++i) {
      others.emplace_back(
          [&, i] { client_->Segment(Tiled<v1::SegmentRequest>(10 + i, 90, 130, 50, 5)); });
    }
    const auto reply = client_->Segment(request);
    for (std::thread& other : others) other.join();
    ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
    ASSERT_EQ(reply.response.results_size(), 2);
    if (first.empty()) first = reply.response.SerializeAsString();
    EXPECT_EQ(reply.response.SerializeAsString(), first);
  }
}

TEST_F(TilingTest, EveryTileIsAnImageOfTheSchedulerAndItsMetrics) {
  Start("", TinySegmenter());
  auto request = Tiled<v1::SegmentRequest>(7, 400, 400, 50, 0);
  request.set_explain(true);
  const v1::Explanation explanation = Labels(request).explanation();
  EXPECT_EQ(explanation.tiles(), 64);
  EXPECT_LE(explanation.batches(), 64);
  EXPECT_GE(explanation.batches() * explanation.batch_size(), 64);
  EXPECT_TRUE(
      Eventually([&] { return Metric("spatialmamba_images_total{model=\"tiny\"}") == 64; }));
}

TEST_F(TilingTest, OptionsThatMakeNoSenseAreRefusedByName) {
  Start("", TinySegmenter());
  const auto expect = [&](const v1::SegmentRequest& request, const std::string& field,
                          const std::string& text) {
    const auto reply = client_->Segment(request);
    EXPECT_EQ(reply.status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_EQ(reply.error.reason(), "INVALID_OPTION");
    EXPECT_THAT(reply.status.error_message(), HasSubstr(text));
    ASSERT_EQ(reply.bad_request.field_violations_size(), 1);
    EXPECT_EQ(reply.bad_request.field_violations(0).field(), field);
  };
  expect(Tiled<v1::SegmentRequest>(1, 64, 64, 0, 0), "tiling.tile_size", "32 to 16384");
  expect(Tiled<v1::SegmentRequest>(1, 64, 64, 31, 0), "tiling.tile_size", "31");
  expect(Tiled<v1::SegmentRequest>(1, 64, 64, 64, 33), "tiling.overlap", "32");
  expect(Tiled<v1::SegmentRequest>(1, 64, 64, 64, -1), "tiling.overlap", "-1");
  auto both = Tiled<v1::SegmentRequest>(1, 64, 64, 64, 8);
  both.set_include_confidence(true);
  expect(both, "include_confidence", "tiling");
}

TEST_F(TilingTest, MoreTilesThanMayWaitAreRefusedWithTheirNumber) {
  Start("batching: {max_queue: 16}\n", TinySegmenter());
  const auto reply = client_->Segment(Tiled<v1::SegmentRequest>(1, 200, 200, 32, 0));
  EXPECT_EQ(reply.status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(reply.error.reason(), "IMAGE_TOO_LARGE");
  EXPECT_THAT(reply.status.error_message(), HasSubstr("49 tiles"));

  auto several = Tiled<v1::SegmentRequest>(1, 90, 90, 32, 0);
  *several.add_images()->mutable_raw() = RandomPicture(2, 90, 90);
  const auto together = client_->Segment(several);
  EXPECT_EQ(together.status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(together.error.reason(), "REQUEST_TOO_LARGE");
  EXPECT_THAT(together.status.error_message(), HasSubstr("18 tiles"));
}

TEST_F(TilingTest, ABrokenPictureFailsItsRequestOnceAndNoOther) {
  Start("", TinySegmenter());
  v1::SegmentRequest request;
  // A header that promises more than the file holds: found out by the tile that decodes.
  const std::string pixels = RandomPicture(1, 100, 100).pixels();
  Image picture = BlackImage(100, 100);
  std::copy(pixels.begin(), pixels.end(), picture.rgb.begin());
  const std::string png = EncodeRgbPng(picture);
  request.add_images()->set_encoded(png.substr(0, png.size() / 2));
  request.mutable_tiling()->set_tile_size(32);
  const auto reply = client_->Segment(request);
  EXPECT_EQ(reply.status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(reply.error.reason(), "IMAGE_DECODE_FAILED");
  EXPECT_EQ(Labels(Tiled<v1::SegmentRequest>(1, 64, 64, 64, 8)).image_size().height(), 64);
  EXPECT_TRUE(Eventually([&] { return Metric("spatialmamba_queue_depth{model=\"tiny\"}") == 0; }));
}

TEST_F(TilingTest, ACancelledPicturesTilesAreNotRun) {
  Start("", TinySegmenter());
  grpc::ClientContext context;
  v1::SegmentResponse response;
  std::thread call([&] {
    client_->stub().Segment(&context, Tiled<v1::SegmentRequest>(1, 1000, 1000, 32, 0), &response);
  });
  EXPECT_TRUE(
      Eventually([&] { return Metric("spatialmamba_images_in_flight{method=\"Segment\"}") > 0; }));
  context.TryCancel();
  call.join();
  EXPECT_TRUE(Eventually([&] { return Metric("spatialmamba_queue_depth{model=\"tiny\"}") == 0; }));
  const double run = Metric("spatialmamba_images_total{model=\"tiny\"}");
  const double dropped = Metric("spatialmamba_dropped_total{model=\"tiny\",reason=\"cancelled\"}");
  EXPECT_GT(dropped, 0);
  EXPECT_TRUE(Eventually([&] {
    return Metric("spatialmamba_images_total{model=\"tiny\"}") +
               Metric("spatialmamba_dropped_total{model=\"tiny\",reason=\"cancelled\"}") ==
           32 * 32;
  })) << run
      << " run, " << dropped << " dropped";
}

}  // namespace
}  // namespace spatialmamba
