#pragma once

#include <cstdint>

#include "model/ops/box.h"

namespace spatialmamba {

struct AnchorParams {
  const int64_t* indices = nullptr;
  int64_t count = 0;
  int64_t width = 0;
  int64_t stride = 0;
  Box* out = nullptr;
};

void AnchorBoxesCpu(const AnchorParams& params);

struct DecodeParams {
  const Box* boxes = nullptr;
  const float* deltas = nullptr;  // rows of four
  int64_t deltas_stride = 0;      // in elements
  int64_t count = 0;
  float centre_scale = 1;
  float extent_scale = 1;
  float height = 0;  // of the picture
  float width = 0;
  Box* out = nullptr;
};

void DecodeBoxesCpu(const DecodeParams& params);

}  // namespace spatialmamba
