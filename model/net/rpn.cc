#include "model/net/rpn.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "model/ops/box_decode.h"
#include "model/ops/conv.h"
#include "model/ops/gemm.h"
#include "model/ops/nms.h"

namespace spatialmamba {
namespace {

constexpr int64_t kOutputs = 5 * kAnchorsPerPixel;
constexpr double kOverlap = 0.7;

// All levels' candidates of one image, level by level, anchors in order.
struct Candidates {
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<int64_t> levels;
};

// The probabilities of all anchors of an image's level.
std::vector<float> Scores(ConstView predictions) {
  std::vector<float> scores;
  scores.reserve(static_cast<size_t>(predictions.rows * kAnchorsPerPixel));
  for (int64_t row = 0; row < predictions.rows; ++row) {
    for (int64_t a = 0; a < kAnchorsPerPixel; ++a) {
      const float logit = predictions.row(row)[a];
      if (!std::isfinite(logit)) {
        throw std::domain_error(
            "a score of a region proposal is not a finite number: the weights or the input are "
            "broken");
      }
      scores.push_back(1.0F / (1.0F + std::exp(-logit)));
    }
  }
  return scores;
}

// Indices of the best `limit` scores, in rising order; of equal ones the lower.
std::vector<int64_t> Best(std::span<const float> scores, int64_t limit) {
  std::vector<int64_t> indices(scores.size());
  std::iota(indices.begin(), indices.end(), int64_t{0});
  if (static_cast<int64_t>(indices.size()) <= limit) return indices;
  const auto end = indices.begin() + limit;
  std::nth_element(indices.begin(), end, indices.end(), [&](int64_t a, int64_t b) {
    const float left = scores[static_cast<size_t>(a)];
    const float right = scores[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  });
  indices.erase(end, indices.end());
  std::sort(indices.begin(), indices.end());
  return indices;
}

// Adds the best boxes of one level of one image that have an area. predictions: its rows.
void AddLevel(ConstView predictions, const Span& span, const PixelSize& valid, int64_t level,
              int64_t stride, Candidates& candidates) {
  const std::vector<float> scores = Scores(predictions);
  const std::vector<int64_t> best = Best(scores, Rpn::kLimit);
  const auto count = static_cast<int64_t>(best.size());
  std::vector<Box> boxes(best.size());
  std::vector<float> deltas;
  deltas.reserve(best.size() * 4);
  for (const int64_t anchor : best) {
    const float* delta = predictions.row(anchor / kAnchorsPerPixel) + kAnchorsPerPixel +
                         anchor % kAnchorsPerPixel * 4;
    deltas.insert(deltas.end(), delta, delta + 4);
  }
  if (!std::all_of(deltas.begin(), deltas.end(), [](float d) { return std::isfinite(d); })) {
    throw std::domain_error(
        "the position of a region proposal is not a finite number: the weights or the input are "
        "broken");
  }
  AnchorBoxes(best, span.width, stride, boxes);
  DecodeBoxes(boxes, {deltas.data(), count, 4, 4}, {}, valid, boxes);
  for (size_t i = 0; i < best.size(); ++i) {
    const Box& box = boxes[i];
    if (!(box.right > box.left && box.bottom > box.top)) continue;
    candidates.boxes.push_back(box);
    candidates.scores.push_back(scores[static_cast<size_t>(best[i])]);
    candidates.levels.push_back(level);
  }
}

Proposals Survivors(const Candidates& candidates) {
  Proposals proposals;
  for (const int64_t kept : Nms(candidates.boxes, candidates.scores, candidates.levels,
                                {.overlap = kOverlap, .limit = Rpn::kLimit})) {
    proposals.boxes.push_back(candidates.boxes[static_cast<size_t>(kept)]);
    proposals.scores.push_back(candidates.scores[static_cast<size_t>(kept)]);
  }
  return proposals;
}

// The two 1x1 convolutions as one: rows of both, one after the other.
LinearLayer MakePredictions(const BoundTensors& tensors, const std::string& key, int64_t channels) {
  std::vector<float> weights = tensors.at(key + ".rpn_cls.weight");
  std::vector<float> bias = tensors.at(key + ".rpn_cls.bias");
  const std::vector<float>& more = tensors.at(key + ".rpn_reg.weight");
  const std::vector<float>& more_bias = tensors.at(key + ".rpn_reg.bias");
  weights.insert(weights.end(), more.begin(), more.end());
  bias.insert(bias.end(), more_bias.begin(), more_bias.end());
  return {PackedMatrix(weights, kOutputs, channels), std::move(bias)};
}

}  // namespace

Rpn::Rpn(const BoundTensors& tensors, const std::string& key, int64_t channels)
    : conv_(MakeConvolution(tensors, key + ".rpn_conv", channels, channels)),
      predict_(MakePredictions(tensors, key, channels)) {}

int64_t Rpn::WorkspaceFloats(const Pyramid& pyramid) const {
  const int64_t largest = pyramid[0].tokens();
  return Arena::Floats(largest, conv_.weights.outputs()) + Arena::Floats(largest, kOutputs);
}

std::vector<Proposals> Rpn::Forward(Context& context, Arena& arena, const Pyramid& pyramid,
                                    std::span<const PixelSize> valid) const {
  std::vector<Candidates> candidates(valid.size());
  for (size_t level = 0; level < kPyramidLevels; ++level) {
    const PyramidLevel& from = pyramid[level];
    const int64_t before = arena.used();
    const View hidden = arena.Take(from.tokens(), conv_.weights.outputs());
    const View predictions = arena.Take(from.tokens(), kOutputs);
    Conv3x3(context, from.map, from.spans, 1, conv_.weights,
            {.bias = conv_.bias_data(), .activation = Activation::kRelu}, hidden, from.spans);
    Gemm(context, hidden, predict_.weights, {.bias = predict_.bias_data()}, predictions);
    const OpScope scope(context, {.op = "proposals_select", .rows = from.tokens()});
    context.ParallelFor(static_cast<int64_t>(valid.size()), [&](int64_t item, int) {
      const auto image = static_cast<size_t>(item);
      const Span& span = from.spans[image];
      const ConstView own{predictions.row(span.offset), span.tokens(), kOutputs,
                          predictions.stride};
      AddLevel(own, span, valid[image], static_cast<int64_t>(level), from.stride,
               candidates[image]);
    });
    arena.Rewind(before);
  }
  std::vector<Proposals> proposals(valid.size());
  const OpScope scope(context, {.op = "proposals_nms"});
  context.ParallelFor(static_cast<int64_t>(valid.size()), [&](int64_t item, int) {
    const auto image = static_cast<size_t>(item);
    proposals[image] = Survivors(candidates[image]);
  });
  return proposals;
}

}  // namespace spatialmamba
