#pragma once

#include "model/ops/device_boxes.h"

struct CUstream_st;

namespace spatialmamba {

constexpr int kRoiLevels = 4;

// RoIAlign (roi_align.h) of a piece of the boxes, each on the level of the pyramid that its area
// asks for (roi_levels.h).
struct DeviceRoiAlign {
  DeviceMap maps[kRoiLevels];      // [tokens, channels]; channels a multiple of 8
  DeviceLevel levels[kRoiLevels];  // their geometry
  int strides[kRoiLevels] = {};    // pixels of the boxes' picture from pixel to pixel
  DeviceRois rois;
  int piece = 0;
  int cells = 0;  // 7 or 14
  // Box i of the piece goes to rows [i * cells * cells, (i + 1) * cells * cells), cells row-major:
  // a map [boxes * cells * cells, channels] without gaps between rows.
  DeviceMap out;
};

// Throws std::invalid_argument if shapes or types do not fit, std::runtime_error if CUDA refuses
// the launch.
void RoiAlignCuda(const DeviceRoiAlign& roi_align, CUstream_st* stream);

}  // namespace spatialmamba
