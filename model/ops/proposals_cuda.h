#pragma once

#include "model/ops/device_boxes.h"

struct CUstream_st;

namespace spatialmamba {

constexpr int kProposalLevels = 5;
constexpr int kMostProposals = 1000;  // of a level, and of an image
constexpr int kPixelAnchors = 3;

// One level of the pyramid: what a region proposal network says of its pixels.
struct ProposalLevel {
  DeviceLevel level;
  // [tokens, predictions.stride], fp32: of each pixel four deltas for each of three anchors, then
  // the three logits. Rows are aligned to 16 bytes.
  DeviceMap predictions;
  float* scores = nullptr;  // workspace, [tokens, 3]
  int stride = 0;           // pixels of the picture from pixel to pixel
};

struct ProposalParams {
  ProposalLevel levels[kProposalLevels];
  const DeviceDetectQuery* queries = nullptr;  // [images]: where boxes are clipped
  // Out: the best kMostProposals anchors of each image and level (all of them if there are not
  // more; of equal scores the lower index), their boxes moved by the deltas; those without an area
  // are left out. groups: kProposalLevels, capacity: kMostProposals.
  DeviceBoxLists lists;
  float* largest = nullptr;  // [images, levels]: the largest coordinate of a list, at least 0
  int* errors = nullptr;     // [images], raised to a DeviceDetectError; such an image's lists are
                             // without meaning
};

// What rpn.cc does before the suppression. Throws std::invalid_argument if sizes do not fit,
// std::runtime_error if CUDA refuses a launch.
void SelectProposalsCuda(const ProposalParams& params, CUstream_st* stream);

}  // namespace spatialmamba
