// The kernels that select detections against the CPU's box head.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "model/net/box_head.h"
#include "model/ops/box_decode.h"
#include "tests/model/ops/ops_fixture.h"

// After the standard headers, which use names that these define.
#include "model/ops/box_lists_cuda.h"
#include "model/ops/class_boxes_cuda.h"
#include "tests/cuda_on_host/detect_lists.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

// The outputs of a box head for the proposals of a batch: so many of each of its images, at
// most 70.
class BoxOutputs {
 public:
  static constexpr int kMost = 70;

  BoxOutputs(std::vector<int> of_images, int classes, int limit)
      : queries(of_images.size() + 1, QueryOf(90, 120)),
        errors(of_images.size() + 1, 0),
        counts_(std::move(of_images)),
        image_count_(static_cast<int>(counts_.size())),
        classes_(classes),
        limit_(limit),
        boxes_(queries.size() * kMost),
        images_(boxes_.size()),
        outputs_(static_cast<int>(boxes_.size()), 5 * classes + 1, -3, 3, 4),
        wanted_(queries.size() * Words(), ~0U),
        lists_(image_count_ + 1, classes, limit) {
    std::mt19937 generator(8);
    size_t roi = 0;
    for (size_t image = 0; image < counts_.size(); ++image) {
      first_.push_back(static_cast<int>(roi));
      for (int i = 0; i < counts_[image]; ++i, ++roi) {
        const auto x = static_cast<float>(generator() % 80);
        const auto y = static_cast<float>(generator() % 60);
        boxes_[roi] = {x, y, x + 30 + static_cast<float>(i % 9), y + 25};
        images_[roi] = static_cast<int>(image);
        if (i % 3 != 1) continue;  // many proposals have a twin
        for (int c = 0; c < 5 * classes + 1; ++c) {
          outputs_.at(static_cast<int>(roi), c) = outputs_.at(static_cast<int>(roi) - 1, c);
        }
        boxes_[roi] = boxes_[roi - 1];
      }
    }
    first_.push_back(-1);
    counts_.push_back(-1);
  }

  void Want(size_t image, const std::vector<int64_t>& classes) {
    unsigned* words = &wanted_[image * Words()];
    std::fill(words, words + Words(), 0U);
    for (const int64_t label : classes) words[label / 32] |= 1U << (label % 32);
  }

  void Run() {
    const size_t images = queries.size();
    std::vector<float> class_scores(images * static_cast<size_t>(classes_ * kMost), kNan);
    largest.assign(images, 0);
    ClassBoxParams params;
    params.rois = {static_cast<int>(boxes_.size()),
                   1,
                   boxes_.data(),
                   images_.data(),
                   nullptr,
                   first_.data(),
                   nullptr};
    params.image_count = &image_count_;
    params.images = static_cast<int>(images);
    params.roi_counts = counts_.data();
    params.predictions = outputs_.map();
    params.classes = classes_;
    params.queries = queries.data();
    params.wanted = wanted_.data();
    params.scores = class_scores.data();
    params.largest = largest.data();
    params.errors = errors.data();
    params.lists = lists_.lists;
    SelectClassBoxesCuda(params, nullptr);
    boxes.assign(images * static_cast<size_t>(limit_), {kNan, kNan, kNan, kNan});
    scores.assign(boxes.size(), kNan);
    labels.assign(boxes.size(), -1);
    counts.assign(images, -1);
    MergeParams merge;
    merge.lists = lists_.lists;
    merge.image_count = &image_count_;
    merge.errors = errors.data();
    merge.limit = limit_;
    merge.queries = queries.data();
    merge.boxes = boxes.data();
    merge.scores = scores.data();
    merge.labels = labels.data();
    merge.counts = counts.data();
    MergeListsCuda(merge, nullptr);
  }

  // What the CPU selects.
  std::vector<Detection> Select(size_t image, const DetectQuery& query) {
    const BoxHeadSizes sizes{.channels = 1, .hidden = 1, .classes = classes_};
    const auto zeros = [](int64_t count) { return std::vector<float>(static_cast<size_t>(count)); };
    const BoxHead head({{{"h.shared_fcs.0.weight", zeros(49)},
                         {"h.shared_fcs.0.bias", zeros(1)},
                         {"h.shared_fcs.1.weight", zeros(1)},
                         {"h.shared_fcs.1.bias", zeros(1)},
                         {"h.fc_cls.weight", zeros(classes_ + 1)},
                         {"h.fc_cls.bias", zeros(classes_ + 1)},
                         {"h.fc_reg.weight", zeros(4 * classes_)},
                         {"h.fc_reg.bias", zeros(4 * classes_)}}},
                       "h", sizes);
    Map outputs(counts_[image], 5 * classes_ + 1);
    std::vector<Box> proposals;
    for (int i = 0; i < counts_[image]; ++i) {
      const int roi = first_[image] + i;
      const DeviceBox& box = boxes_[static_cast<size_t>(roi)];
      proposals.push_back({box.left, box.top, box.right, box.bottom});
      for (int c = 0; c < 5 * classes_ + 1; ++c) {  // the CPU has the logits first
        outputs.at(i, c) = outputs_.at(roi, c <= classes_ ? 4 * classes_ + c : c - classes_ - 1);
      }
    }
    return head.Select(outputs.view(), proposals, query);
  }

  // The largest coordinate of an image's boxes that score above the threshold.
  float LargestCandidate(size_t image) {
    float most = 0;
    for (int roi = first_[image]; roi < first_[image] + counts_[image]; ++roi) {
      const float* deltas = &outputs_.at(roi, 0);
      double total = 0;
      for (int c = 0; c <= classes_; ++c) total += std::exp(outputs_.value(roi, 4 * classes_ + c));
      for (int c = 0; c < classes_; ++c) {
        const double score = std::exp(outputs_.value(roi, 4 * classes_ + c)) / total;
        if (score <= static_cast<double>(queries[image].score_threshold)) continue;
        const DeviceBox& from = boxes_[static_cast<size_t>(roi)];
        Box box{from.left, from.top, from.right, from.bottom};
        DecodeBoxes({&box, 1}, {deltas + 4 * c, 1, 4, 4}, {.centre = 0.1F, .extent = 0.2F},
                    {90, 120}, {&box, 1});
        most = std::max({most, box.right, box.bottom});
      }
    }
    return most;
  }

  float& output(int roi, int channel) { return outputs_.at(roi, channel); }
  int limit() const { return limit_; }

  std::vector<DeviceDetectQuery> queries;
  std::vector<int> errors;
  std::vector<int> largest;  // bits
  std::vector<DeviceBox> boxes;
  std::vector<float> scores;
  std::vector<int> labels;
  std::vector<int> counts;

 private:
  size_t Words() const { return static_cast<size_t>((classes_ + 31) / 32); }

  std::vector<int> counts_;
  int image_count_;
  int classes_;
  int limit_;
  std::vector<DeviceBox> boxes_;
  std::vector<int> images_;
  std::vector<int> first_;
  TestMap<float> outputs_;
  std::vector<unsigned> wanted_;
  Lists lists_;
};

void ExpectDetections(const BoxOutputs& done, size_t image, const std::vector<Detection>& want) {
  ASSERT_EQ(done.counts[image], static_cast<int>(want.size())) << image;
  for (size_t i = 0; i < want.size(); ++i) {
    const size_t at = image * static_cast<size_t>(done.limit()) + i;
    ASSERT_TRUE(done.boxes[at] == want[i].box) << image << ", " << i;
    ASSERT_FLOAT_EQ(done.scores[at], want[i].score) << image << ", " << i;
    ASSERT_EQ(done.labels[at], want[i].label) << image << ", " << i;
  }
}

TEST(ClassBoxes, DetectionsAreThoseOfTheCpu) {
  for (const int classes : {3, 40}) {
    BoxOutputs batch({70, 0, 33, 1, 64}, classes, 100);
    DetectQuery query{.valid = {90, 120}};
    std::vector<DetectQuery> queries(5, query);
    queries[0].score_threshold = 0.01F;
    queries[2].nms_overlap = 0.25;
    queries[2].max_detections = 7;
    queries[2].score_threshold = 0;
    queries[4].classes = {{1, 2}};
    batch.queries[0].score_threshold = 0.01F;
    batch.queries[2].overlap = 0.25F;
    batch.queries[2].max_detections = 7;
    batch.queries[2].score_threshold = 0;
    batch.Want(4, {1, 2});
    batch.Run();
    size_t found = 0;
    for (size_t image = 0; image < queries.size(); ++image) {
      const std::vector<Detection> want = batch.Select(image, queries[image]);
      ExpectDetections(batch, image, want);
      found += want.size();
    }
    for (const size_t image : {0, 2, 3}) {
      float largest = 0;
      std::memcpy(&largest, &batch.largest[image], sizeof(largest));
      EXPECT_EQ(largest, batch.LargestCandidate(image)) << image;
    }
    EXPECT_GT(found, 50U);
    EXPECT_EQ(batch.counts[2], 7);
    EXPECT_EQ(batch.counts.back(), -1);
    EXPECT_TRUE(SameOfEveryOrder(batch.errors, [&] {
      const std::vector<DeviceBox> before = batch.boxes;
      batch.Run();
      EXPECT_EQ(std::memcmp(before.data(), batch.boxes.data(), before.size() * sizeof(DeviceBox)),
                0);
    }));
  }
}

TEST(ClassBoxes, ABoxOutputThatIsNotFiniteIsReported) {
  BoxOutputs batch({5, 6, 7}, 3, 10);
  batch.output(7, 1) = kNan;
  batch.output(11, 15) = -std::numeric_limits<float>::infinity();
  batch.Run();
  EXPECT_EQ(batch.errors, (std::vector<int>{0, kBadBoxOutput, kBadBoxOutput, 0}));
  EXPECT_GT(batch.counts[0], 0);
  EXPECT_EQ(batch.counts[1], 0);
  EXPECT_EQ(batch.counts[2], 0);
}

TEST(ClassBoxes, WhatDoesNotFitIsRefused) {
  EXPECT_THROW(SelectClassBoxesCuda({}, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
