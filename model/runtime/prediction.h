#pragma once

#include <iterator>
#include <span>
#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

#include "model/net/detections.h"
#include "model/net/segmentation.h"

namespace spatialmamba {

// What the network of each task is asked about one image, and what it says. (Detection and
// segmentation: see detections.h and segmentation.h.)
struct ClassifyQuery {};
struct ClassifyOutput {
  std::vector<float> logits;  // [classes]
  bool operator==(const ClassifyOutput&) const = default;
};

// The alternatives stand in the order of VisionTask.
using Query = std::variant<ClassifyQuery, DetectQuery, SegmentQuery>;
using Prediction = std::variant<ClassifyOutput, DetectOutput, SegmentOutput>;

// The queries as those of one task. Throws std::invalid_argument if one is of another.
template <typename Of>
std::vector<Of> OfTask(std::span<const Query> queries) {
  std::vector<Of> own;
  for (const Query& query : queries) {
    const auto* one = std::get_if<Of>(&query);
    if (one == nullptr) throw std::invalid_argument("Network: a query of another task");
    own.push_back(*one);
  }
  return own;
}

template <typename Output>
std::vector<Prediction> ToPredictions(std::vector<Output> outputs) {
  return {std::make_move_iterator(outputs.begin()), std::make_move_iterator(outputs.end())};
}

}  // namespace spatialmamba
