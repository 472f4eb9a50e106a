#pragma once

#include <cstdint>

#include "model/ops/two_step_axis.h"

namespace spatialmamba {

struct ResizeArgmaxParams {
  static constexpr int64_t kBlock = 16;  // pixels along both sides of a block

  const float* logits = nullptr;  // [height, width, classes], tokens at their stride
  int64_t stride = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t classes = 0;
  const TwoStepSample* rows = nullptr;     // [out_height]
  const TwoStepSample* columns = nullptr;  // [out_width]
  int64_t row_taps = 0;                    // how many of each sample's weights are used
  int64_t column_taps = 0;
  int64_t out_height = 0;
  int64_t out_width = 0;
  uint16_t* labels = nullptr;  // [out_height, out_width]
};

// Memory of one worker.
struct ResizeArgmaxScratch {
  float* leads = nullptr;           // [classes]
  int32_t* candidates = nullptr;    // [classes]
  int64_t* class_pixels = nullptr;  // [classes], counted up
};

// The block of kBlock x kBlock pixels (fewer at the lower and right edge) that begins at that one.
void ResizeArgmaxBlockCpu(const ResizeArgmaxParams& params, int64_t first_row, int64_t first_column,
                          const ResizeArgmaxScratch& scratch);

}  // namespace spatialmamba
