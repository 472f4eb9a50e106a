// The kernels that suppress, merge and pack boxes against the CPU's ops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "model/ops/nms.h"

// After the standard headers, which use names that these define.
#include "model/ops/box_lists_cuda.h"
#include "tests/cuda_on_host/detect_lists.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

// Boxes of one image in clusters, some empty, with scores of few values.
struct Boxes {
  Boxes(const std::vector<int>& counts, unsigned seed) : counts_of_group(counts) {
    std::mt19937 generator(seed);
    const auto whole = [&](int below) {
      return static_cast<float>(generator() % static_cast<unsigned>(below));
    };
    for (size_t group = 0; group < counts.size(); ++group) {
      for (int i = 0; i < counts[group]; ++i) {
        const float left = whole(6) * 20 + whole(5) * 0.7F;
        const float top = whole(6) * 20 + whole(5) * 0.3F;
        const bool empty = whole(10) == 0;
        boxes.push_back({left, top, left + (empty ? 0 : 12 + whole(9)), top + 14 + whole(7)});
        scores.push_back(whole(50) / 64);
        groups.push_back(static_cast<int64_t>(group));
      }
    }
  }

  // Into an image's lists; the place of a box among equal scores is its index.
  void FillLists(int image, Lists* to) const {
    for (int group = 0; group < to->lists.groups; ++group) {
      std::vector<size_t> own;
      for (size_t i = 0; i < boxes.size(); ++i) {
        if (groups[i] == group) own.push_back(i);
      }
      std::stable_sort(own.begin(), own.end(),
                       [&](size_t a, size_t b) { return scores[a] > scores[b]; });
      const auto list = static_cast<size_t>(image * to->lists.groups + group);
      to->counts[list] = static_cast<int>(own.size());
      for (size_t i = 0; i < own.size(); ++i) {
        const size_t at = list * static_cast<size_t>(to->lists.capacity) + i;
        uint32_t bits = 0;
        std::memcpy(&bits, &scores[own[i]], sizeof(bits));
        to->keys[at] = static_cast<uint64_t>(~bits) << 32 | own[i];
        to->boxes[at] = OnDevice(boxes[own[i]]);
      }
    }
  }

  float Largest(int group) const {
    float largest = 0;
    for (size_t i = 0; i < boxes.size(); ++i) {
      if (groups[i] != group) continue;
      largest = std::max({largest, boxes[i].right, boxes[i].bottom});
    }
    return largest;
  }

  std::vector<int> counts_of_group;
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<int64_t> groups;
};

// Suppresses and merges the boxes of several images.
class Suppression {
 public:
  Suppression(const std::vector<Boxes>& images, int groups, int limit)
      : image_count_(static_cast<int>(images.size())),
        lists_(image_count_ + 1, groups, 1000),
        errors_(static_cast<size_t>(image_count_), 0),
        limit_(limit),
        boxes(static_cast<size_t>((image_count_ + 1) * limit), {kNan, kNan, kNan, kNan}),
        scores(boxes.size(), kNan),
        labels(boxes.size(), -1),
        counts(static_cast<size_t>(image_count_ + 1), -1) {
    for (int image = 0; image < image_count_; ++image) {
      const Boxes& own = images[static_cast<size_t>(image)];
      own.FillLists(image, &lists_);
      for (int group = 0; group < groups; ++group) largest_.push_back(own.Largest(group));
    }
    keys_ = lists_.keys;
    list_boxes_ = lists_.boxes;
    list_counts_ = lists_.counts;
  }

  void Run(float overlap, const DeviceDetectQuery* queries = nullptr) {
    std::copy(keys_.begin(), keys_.end(), lists_.keys.begin());
    std::copy(list_boxes_.begin(), list_boxes_.end(), lists_.boxes.begin());
    std::copy(list_counts_.begin(), list_counts_.end(), lists_.counts.begin());
    SuppressListsCuda(lists_.lists, &image_count_, largest_.data(), overlap, nullptr);
    MergeParams merge;
    merge.lists = lists_.lists;
    merge.image_count = &image_count_;
    merge.errors = errors_.data();
    merge.limit = limit_;
    merge.queries = queries;
    merge.boxes = boxes.data();
    merge.scores = scores.data();
    merge.labels = labels.data();
    merge.counts = counts.data();
    MergeListsCuda(merge, nullptr);
  }

  std::vector<int>& errors() { return errors_; }

 private:
  int image_count_;
  Lists lists_;
  std::vector<float> largest_;
  std::vector<int> errors_;
  int limit_;
  std::vector<uint64_t> keys_;
  std::vector<DeviceBox> list_boxes_;
  std::vector<int> list_counts_;

 public:
  std::vector<DeviceBox> boxes;
  std::vector<float> scores;
  std::vector<int> labels;
  std::vector<int> counts;
};

void ExpectKept(const Suppression& done, size_t image, size_t limit, const Boxes& boxes,
                const std::vector<int64_t>& want) {
  ASSERT_EQ(done.counts[image], static_cast<int>(want.size()));
  for (size_t i = 0; i < want.size(); ++i) {
    const auto index = static_cast<size_t>(want[i]);
    const size_t at = image * limit + i;
    ASSERT_TRUE(done.boxes[at] == boxes.boxes[index]) << image << ", " << i;
    ASSERT_EQ(done.scores[at], boxes.scores[index]) << image << ", " << i;
    ASSERT_EQ(done.labels[at], static_cast<int>(boxes.groups[index])) << image << ", " << i;
  }
}

TEST(BoxLists, SuppressionKeepsWhatTheCpuKeeps) {
  const std::vector<std::vector<int>> sizes[] = {
      {{0, 0, 0, 0, 0}, {1, 64, 65, 0, 200}, {1000, 63, 2, 128, 129}},
      {{3, 0, 70, 1, 0, 0, 5, 0, 9, 0, 64, 2}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 190}}};
  for (const auto& images : sizes) {
    std::vector<Boxes> boxes;
    for (const std::vector<int>& counts : images) boxes.emplace_back(counts, 3);
    const auto groups = static_cast<int>(images[0].size());
    for (const size_t limit : {1000, 20}) {
      for (const double overlap : {0.0, 0.5, 0.7, 1.0}) {
        Suppression suppression(boxes, groups, static_cast<int>(limit));
        // 0.7 as a float is below 0.7, the others are equal.
        suppression.Run(static_cast<float>(overlap));
        for (size_t image = 0; image < boxes.size(); ++image) {
          const Boxes& own = boxes[image];
          ExpectKept(suppression, image, limit, own,
                     Nms(own.boxes, own.scores, own.groups,
                         {.overlap = overlap, .limit = static_cast<int64_t>(limit)}));
        }
        EXPECT_EQ(suppression.counts.back(), -1);
      }
    }
  }
}

TEST(BoxLists, SuppressionIsTheSameInEveryOrderOfThreads) {
  const std::vector<Boxes> boxes = {{{130, 20}, 1}, {{0, 65}, 2}};
  Suppression suppression(boxes, 2, 100);
  EXPECT_TRUE(SameOfEveryOrder(suppression.boxes, [&] { suppression.Run(0.5F); }));
}

TEST(BoxLists, QueriesAndErrorsLimitAnImagesBoxes) {
  const std::vector<Boxes> boxes = {{{30, 20}, 1}, {{30, 20}, 2}, {{30, 20}, 3}};
  std::vector<DeviceDetectQuery> queries(3, QueryOf(1, 1));
  queries[0].max_detections = 4;
  queries[2].max_detections = 0;
  Suppression suppression(boxes, 2, 100);
  suppression.errors()[1] = kBadBoxOutput;
  suppression.Run(0.5F, queries.data());
  EXPECT_EQ(suppression.counts, (std::vector<int>{4, 0, 0, -1}));
}

// An empty box overlaps nothing, the first of equal scores wins, a group is no other's business.
TEST(BoxLists, SuppressionIsStrict) {
  Boxes boxes({4, 1}, 1);
  boxes.boxes = {{0, 0, 10, 10}, {0, 0, 10, 5}, {0, 0, 10, 10}, {5, 5, 5, 5}, {0, 0, 10, 10}};
  boxes.scores = {0.5F, 0.25F, 0.5F, 0.125F, 0.5F};
  Suppression suppression({boxes}, 2, 10);
  suppression.Run(0.5F);  // the second box overlaps the first by just that
  ExpectKept(suppression, 0, 10, boxes, {0, 4, 1, 3});
}

TEST(BoxLists, PackedBoxesLieBackToBackInPieces) {
  constexpr int kLimit = 6;
  const int image_count = 4;
  const std::vector<int> counts = {3, 0, 6, 5, -1};
  std::vector<DeviceBox> boxes(5 * kLimit);
  std::vector<int> labels(boxes.size());
  for (size_t i = 0; i < boxes.size(); ++i) {
    boxes[i] = {static_cast<float>(i), 0, 1, 1};
    labels[i] = static_cast<int>(100 + i);
  }
  std::vector<DeviceDetectQuery> queries(5, QueryOf(1, 1));
  queries[2].masks = 0;
  for (const bool masks : {false, true}) {
    std::vector<DeviceBox> packed(boxes.size(), {-1, 0, 0, 0});
    std::vector<int> images(boxes.size(), -1);
    std::vector<int> packed_labels(boxes.size(), -1);
    std::vector<int> first(5, -1);
    std::vector<int> pieces(8 * kDeviceCounts, -1);
    std::vector<DeviceSpan> spans(4);
    PackParams params;
    params.image_count = &image_count;
    params.images = 5;
    params.limit = kLimit;
    params.boxes = boxes.data();
    params.labels = labels.data();
    params.counts = counts.data();
    params.queries = masks ? queries.data() : nullptr;
    params.rois = {
        30, 4, packed.data(), images.data(), packed_labels.data(), first.data(), pieces.data()};
    params.spans = spans.data();
    params.side = 3;
    PackRoisCuda(params, nullptr);
    const std::vector<int> from =
        masks ? std::vector<int>{0, 1, 2, 18, 19, 20, 21, 22}
              : std::vector<int>{0, 1, 2, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22};
    for (size_t i = 0; i < packed.size(); ++i) {
      const int want = i < from.size() ? from[i] : -1;
      EXPECT_EQ(packed[i].left, static_cast<float>(want)) << i;
      EXPECT_EQ(images[i], want < 0 ? -1 : want / kLimit) << i;
      EXPECT_EQ(packed_labels[i], want < 0 ? -1 : want + 100) << i;
    }
    EXPECT_EQ(first,
              masks ? (std::vector<int>{0, 3, 3, 3, -1}) : (std::vector<int>{0, 3, 3, 9, -1}));
    for (int piece = 0; piece < 8; ++piece) {
      const int own = std::clamp(static_cast<int>(from.size()) - 4 * piece, 0, 4);
      const int* piece_counts = params.rois.counts_of(piece);
      EXPECT_EQ(piece_counts[kImageCount], own);
      EXPECT_EQ(piece_counts[kTokenCount], own * 9);
    }
    EXPECT_EQ(spans[3].offset, 27);
    EXPECT_EQ(spans[3].width, 3);
  }
}

TEST(BoxLists, WhatDoesNotFitIsRefused) {
  const Lists lists(1, 1, 1025);
  EXPECT_THROW(SuppressListsCuda(lists.lists, nullptr, nullptr, 0.5F, nullptr),
               std::invalid_argument);
  EXPECT_THROW(PackRoisCuda({}, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
