#pragma once

#include <cstdint>

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// One image for ResizeArgmaxCuda.
struct DeviceResizeArgmax {
  DeviceMap logits;  // fp32 [from_height * from_width, classes], of the image alone
  int from_height = 0;
  int from_width = 0;
  int between_height = 0;  // not smaller than those, as the next
  int between_width = 0;
  int to_height = 0;
  int to_width = 0;
  uint16_t* labels = nullptr;        // [to_height, to_width]
  uint32_t* class_pixels = nullptr;  // [classes]: how many labels are of each is added
};

// resize_argmax.h on a GPU, one image a launch: the same labels, bit for bit, as on a CPU that
// fuses multiplications and additions. Logits that are not finite give labels below `classes`
// without a meaning. Not meant for a captured graph: the grid is that of the image. Throws
// std::invalid_argument if shapes do not fit, there are more than 65536 classes, or the labels have
// more blocks of 16 x 16 pixels than a grid (2^31).
void ResizeArgmaxCuda(const DeviceResizeArgmax& image, CUstream_st* stream);

}  // namespace spatialmamba
