#pragma once

#include "model/ops/device_boxes.h"

struct CUstream_st;

namespace spatialmamba {

// The end of a mask head for a piece of the boxes: the probability that each pixel of a doubled map
// belongs to the box's own class.
struct DeviceMaskLogits {
  // [boxes * side * side, 4 * channels]: of each pixel the four that it becomes (down, across);
  // channels a multiple of 8.
  DeviceMap doubled;
  int side = 0;                          // before it was doubled
  const float* class_weights = nullptr;  // [classes, channels], aligned to 16 bytes
  const float* class_bias = nullptr;     // [classes]
  DeviceRois rois;                       // with labels
  int piece = 0;
  float* out = nullptr;  // [rois.capacity, 4 * side * side]; the piece's rows are written
};

// Throws std::invalid_argument if shapes do not fit, std::runtime_error if CUDA refuses the launch.
void MaskLogitsCuda(const DeviceMaskLogits& mask_logits, CUstream_st* stream);

}  // namespace spatialmamba
