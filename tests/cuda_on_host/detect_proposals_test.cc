// The kernels that select proposals against the CPU's ops, on small ragged batches.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "model/ops/box_decode.h"

// After the standard headers, which use names that these define.
#include "model/ops/proposals_cuda.h"
#include "tests/cuda_on_host/detect_lists.h"

namespace spatialmamba::cuda_on_host_test {
namespace {

using Shapes = std::vector<std::pair<int, int>>;

// Predictions of five levels of the same batch, each half of the one before.
class Proposals {
 public:
  // steps: of the logits, which few make equal.
  Proposals(const Shapes& shapes, int steps, unsigned seed) : lists(Images(shapes), 5, 1000) {
    Shapes level_shapes = shapes;
    for (int i = 0; i < kProposalLevels; ++i) {
      levels_.push_back(std::make_unique<RaggedLevel>(level_shapes));
      const int tokens = levels_.back()->tokens();
      predictions_.emplace_back(tokens, 15, -1.5F, 1.5F, seed + static_cast<unsigned>(i));
      for (int t = 0; t < tokens; ++t) {
        for (int a = 12; a < 15; ++a) {
          float& logit = predictions_.back().at(t, a);
          logit = std::round(logit * static_cast<float>(steps)) / static_cast<float>(steps) * 4;
        }
      }
      scores_.emplace_back(static_cast<size_t>(3 * tokens), kNan);
      for (auto& [height, width] : level_shapes) {
        height = (height + 1) / 2;
        width = (width + 1) / 2;
      }
    }
    queries_.assign(static_cast<size_t>(lists.lists.images), {kNan, kNan, 0, 0, 0, 0});
    for (size_t i = 0; i < shapes.size(); ++i) {
      queries_[i] = QueryOf(static_cast<float>(shapes[i].first * 4 - 3),
                            static_cast<float>(shapes[i].second * 4 - 2));
    }
    largest.assign(queries_.size() * 5, kNan);
    errors.assign(queries_.size(), 0);
  }

  void Run() {
    ProposalParams params;
    for (size_t i = 0; i < kProposalLevels; ++i) {
      params.levels[i] = {levels_[i]->level(), predictions_[i].map(), scores_[i].data(), 4 << i};
    }
    params.queries = queries_.data();
    params.lists = lists.lists;
    params.largest = largest.data();
    params.errors = errors.data();
    SelectProposalsCuda(params, nullptr);
  }

  // What a list is to hold.
  struct Want {
    std::vector<Box> boxes;
    std::vector<float> scores;
    float largest = 0;
  };
  Want WantOf(size_t image, size_t level) {
    const DeviceSpan span = levels_[level]->spans()[image];
    std::vector<float> scores;
    for (int i = 0; i < span.height * span.width * 3; ++i) {
      const float logit = predictions_[level].at(span.offset + i / 3, 12 + i % 3);
      scores.push_back(1.0F / (1.0F + std::exp(-logit)));
    }
    std::vector<int64_t> indices(scores.size());
    std::iota(indices.begin(), indices.end(), int64_t{0});
    std::stable_sort(indices.begin(), indices.end(), [&](int64_t a, int64_t b) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
    });
    indices.resize(std::min<size_t>(indices.size(), 1000));
    Want want;
    for (const int64_t index : indices) {
      Box box;
      AnchorBoxes({&index, 1}, span.width, 4 << level, {&box, 1});
      const float* deltas = &predictions_[level].at(span.offset + static_cast<int>(index / 3),
                                                    static_cast<int>(index % 3 * 4));
      const DeviceDetectQuery& query = queries_[image];
      DecodeBoxes({&box, 1}, {deltas, 1, 4, 4}, {},
                  {static_cast<int64_t>(query.height), static_cast<int64_t>(query.width)},
                  {&box, 1});
      if (!(box.right > box.left && box.bottom > box.top)) continue;
      want.boxes.push_back(box);
      want.scores.push_back(scores[static_cast<size_t>(index)]);
      want.largest = std::max({want.largest, box.left, box.top, box.right, box.bottom});
    }
    return want;
  }

  float& prediction(size_t level, int token, int channel) {
    return predictions_[level].at(token, channel);
  }
  const RaggedLevel& level(size_t i) const { return *levels_[i]; }

  Lists lists;
  std::vector<float> largest;
  std::vector<int> errors;

 private:
  static int Images(const Shapes& shapes) { return static_cast<int>(shapes.size()) + 1; }

  std::vector<std::unique_ptr<RaggedLevel>> levels_;
  std::vector<TestMap<float>> predictions_;
  std::vector<std::vector<float>> scores_;
  std::vector<DeviceDetectQuery> queries_;
};

const Shapes kImages = {{20, 37}, {1, 1}, {18, 19}, {45, 31}};  // the third has 1026 anchors

float ScoreOf(uint64_t key) {
  const auto bits = ~static_cast<uint32_t>(key >> 32);
  float score;
  std::memcpy(&score, &bits, sizeof(score));
  return score;
}

TEST(DetectProposals, ProposalsAreTheBestOfEveryLevel) {
  for (const int steps : {1000000, 20, 2, 1}) {  // ever more equal scores
    Proposals proposals(kImages, steps, 7);
    if (steps == 20) {
      EXPECT_TRUE(SameOfEveryOrder(proposals.lists.keys, [&] { proposals.Run(); }));
    } else {
      proposals.Run();
    }
    for (size_t list = 0; list < kImages.size() * 5; ++list) {
      const Proposals::Want want = proposals.WantOf(list / 5, list % 5);
      ASSERT_EQ(proposals.lists.counts[list], static_cast<int>(want.boxes.size())) << list;
      EXPECT_EQ(proposals.largest[list], want.largest) << list;
      for (size_t i = 0; i < want.boxes.size(); ++i) {
        ASSERT_EQ(ScoreOf(proposals.lists.keys[list * 1000 + i]), want.scores[i])
            << list << ", " << i;
        ASSERT_TRUE(proposals.lists.boxes[list * 1000 + i] == want.boxes[i]) << list << ", " << i;
      }
    }
    EXPECT_EQ(proposals.errors, std::vector<int>(5, 0));
    EXPECT_EQ(proposals.lists.counts.back(), -1);  // an image that the batch does not have
  }
}

TEST(DetectProposals, ProposalsOfEqualScoreAreTheFirstAnchors) {
  Proposals proposals({{20, 37}}, 1, 7);
  for (int t = 0; t < 20 * 37; ++t) {
    for (int channel = 0; channel < 15; ++channel) proposals.prediction(0, t, channel) = 0;
  }
  proposals.Run();
  const Proposals::Want want = proposals.WantOf(0, 0);
  ASSERT_EQ(proposals.lists.counts[0], static_cast<int>(want.boxes.size()));
  for (size_t i = 0; i < want.boxes.size(); ++i) {
    ASSERT_TRUE(proposals.lists.boxes[i] == want.boxes[i]) << i;
  }
}

TEST(DetectProposals, AProposalThatIsNotFiniteIsReported) {
  Shapes shapes = kImages;
  shapes.emplace_back(3, 3);
  Proposals proposals(shapes, 1000, 7);
  const std::vector<DeviceSpan>& spans = proposals.level(1).spans();
  proposals.prediction(1, spans[2].offset, 13) = kNan;
  proposals.prediction(1, spans[4].offset - 1, 14) = -kNan;
  proposals.prediction(0, proposals.level(0).spans()[1].offset, 2) =
      std::numeric_limits<float>::infinity();
  proposals.Run();
  EXPECT_EQ(proposals.errors,
            (std::vector<int>{0, kBadProposalBox, kBadProposalScore, kBadProposalScore, 0, 0}));
}

TEST(DetectProposals, WhatDoesNotFitIsRefused) {
  EXPECT_THROW(SelectProposalsCuda({}, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba::cuda_on_host_test
