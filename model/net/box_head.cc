#include "model/net/box_head.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "model/ops/box_decode.h"
#include "model/ops/gemm.h"
#include "model/ops/nms.h"

namespace spatialmamba {
namespace {

constexpr int64_t kCells = 7;
// Boxes that are pooled before they are multiplied: bounds the memory, whatever the batch.
constexpr int64_t kRoisAtOnce = 512;
constexpr DeltaScales kDeltaScales{.centre = 0.1F, .extent = 0.2F};

// The weights of one cell [hidden, channels] of those of the flattened cells, which the checkpoints
// keep channel by channel: [hidden, channels, kCells * kCells].
PackedMatrix OfCell(const std::vector<float>& weights, int64_t hidden, int64_t channels,
                    int64_t cell, MatrixType type) {
  std::vector<float> own(static_cast<size_t>(hidden * channels));
  for (size_t i = 0; i < own.size(); ++i) {
    own[i] = weights[i * static_cast<size_t>(kCells * kCells) + static_cast<size_t>(cell)];
  }
  return {own, hidden, channels, type};
}

LinearLayer MakePredictions(const BoundTensors& tensors, const std::string& key,
                            const BoxHeadSizes& sizes) {
  std::vector<float> weights = tensors.at(key + ".fc_cls.weight");
  std::vector<float> bias = tensors.at(key + ".fc_cls.bias");
  const std::vector<float>& more = tensors.at(key + ".fc_reg.weight");
  const std::vector<float>& more_bias = tensors.at(key + ".fc_reg.bias");
  weights.insert(weights.end(), more.begin(), more.end());
  bias.insert(bias.end(), more_bias.begin(), more_bias.end());
  return {PackedMatrix(weights, 5 * sizes.classes + 1, sizes.hidden), std::move(bias)};
}

void Relu(Context& context, View x) {
  context.ParallelFor(x.rows, [&](int64_t row, int) {
    float* values = x.row(row);
    for (int64_t c = 0; c < x.channels; ++c) values[c] = std::max(values[c], 0.0F);
  });
}

// Pairs of a proposal and a class that score above the threshold.
struct Candidates {
  std::vector<Box> boxes;
  std::vector<float> deltas;
  std::vector<float> scores;
  std::vector<int64_t> labels;
};

void CheckFinite(const float* outputs, int64_t count) {
  if (!std::all_of(outputs, outputs + count, [](float x) { return std::isfinite(x); })) {
    throw std::domain_error(
        "an output of the box head is not a finite number: the weights or the input are broken");
  }
}

// Softmax over all classes and the background.
void Probabilities(const float* logits, std::span<float> probabilities) {
  const size_t count = probabilities.size();
  const float largest = *std::max_element(logits, logits + count);
  double total = 0;
  for (size_t i = 0; i < count; ++i) {
    probabilities[i] = std::exp(logits[i] - largest);
    total += static_cast<double>(probabilities[i]);
  }
  for (float& p : probabilities) p = static_cast<float>(static_cast<double>(p) / total);
}

// By class, whether it is asked for.
std::vector<bool> Wanted(const DetectQuery& query, int64_t classes) {
  std::vector<bool> wanted(static_cast<size_t>(classes), !query.classes.has_value());
  if (!query.classes.has_value()) return wanted;
  for (const int64_t label : *query.classes) {
    if (label >= 0 && label < classes) wanted[static_cast<size_t>(label)] = true;
  }
  return wanted;
}

Candidates Above(ConstView outputs, std::span<const Box> proposals, const DetectQuery& query,
                 int64_t classes) {
  const std::vector<bool> wanted = Wanted(query, classes);
  std::vector<float> probabilities(static_cast<size_t>(classes) + 1);
  Candidates found;
  for (int64_t row = 0; row < outputs.rows; ++row) {
    const float* values = outputs.row(row);
    CheckFinite(values, outputs.channels);
    Probabilities(values, probabilities);
    for (int64_t label = 0; label < classes; ++label) {
      const float score = probabilities[static_cast<size_t>(label)];
      if (!(score > query.score_threshold) || !wanted[static_cast<size_t>(label)]) continue;
      const float* delta = values + classes + 1 + label * 4;
      found.boxes.push_back(proposals[static_cast<size_t>(row)]);
      found.deltas.insert(found.deltas.end(), delta, delta + 4);
      found.scores.push_back(score);
      found.labels.push_back(label);
    }
  }
  return found;
}

}  // namespace

BoxHead::BoxHead(const BoundTensors& tensors, const std::string& key, const BoxHeadSizes& sizes)
    : channels_(sizes.channels),
      classes_(sizes.classes),
      first_bias_(tensors.at(key + ".shared_fcs.0.bias")),
      second_(MakeLinear(tensors, key + ".shared_fcs.1.weight", key + ".shared_fcs.1.bias",
                         sizes.hidden, sizes.hidden)),
      predict_(MakePredictions(tensors, key, sizes)) {
  const std::vector<float>& weights = tensors.at(key + ".shared_fcs.0.weight");
  for (int64_t cell = 0; cell < kCells * kCells; ++cell) {
    first_.push_back(OfCell(weights, sizes.hidden, sizes.channels, cell, tensors.matrices()));
  }
}

int64_t BoxHead::WorkspaceFloats(int64_t rois) const {
  const int64_t at_once = std::min(rois, kRoisAtOnce);
  return Arena::Floats(at_once, kCells * kCells * channels_) +
         2 * Arena::Floats(at_once, second_.weights.outputs());
}

void BoxHead::Forward(Context& context, Arena& arena, std::span<const RoiMap> maps,
                      std::span<const Roi> rois, View out) const {
  const auto total = static_cast<int64_t>(rois.size());
  const int64_t hidden = second_.weights.outputs();
  for (int64_t first = 0; first < total; first += kRoisAtOnce) {
    const int64_t count = std::min(kRoisAtOnce, total - first);
    const int64_t before = arena.used();
    const View cells = arena.Take(count * kCells * kCells, channels_);
    const View a = arena.Take(count, hidden);
    const View b = arena.Take(count, hidden);
    RoiAlign(context, maps, rois.subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
             kCells, cells);
    // The sum over all cells goes cell by cell: the weights of one fit in the caches, those of all
    // do not.
    for (int64_t cell = 0; cell < kCells * kCells; ++cell) {
      const ConstView x{cells.row(cell), count, channels_, kCells * kCells * channels_};
      const Epilogue epilogue = cell == 0
                                    ? Epilogue{.bias = first_bias_.data()}
                                    : Epilogue{.residual = a.data, .residual_stride = a.stride};
      Gemm(context, x, first_[static_cast<size_t>(cell)], epilogue, a);
    }
    Relu(context, a);
    Gemm(context, a, second_.weights,
         {.bias = second_.bias_data(), .activation = Activation::kRelu}, b);
    const View part{out.row(first), count, out.channels, out.stride};
    Gemm(context, b, predict_.weights, {.bias = predict_.bias_data()}, part);
    arena.Rewind(before);
  }
}

std::vector<Detection> BoxHead::Select(ConstView outputs, std::span<const Box> proposals,
                                       const DetectQuery& query) const {
  Candidates found = Above(outputs, proposals, query, classes_);
  const auto count = static_cast<int64_t>(found.boxes.size());
  DecodeBoxes(found.boxes, {found.deltas.data(), count, 4, 4}, kDeltaScales, query.valid,
              found.boxes);
  std::vector<Detection> detections;
  for (const int64_t kept : Nms(found.boxes, found.scores, found.labels,
                                {.overlap = query.nms_overlap, .limit = query.max_detections})) {
    const auto i = static_cast<size_t>(kept);
    detections.push_back({found.boxes[i], found.scores[i], found.labels[i]});
  }
  return detections;
}

}  // namespace spatialmamba
