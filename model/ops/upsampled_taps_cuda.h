#pragma once

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// Outputs whose products of one tap lie side by side.
constexpr int kTapPanel = 64;
constexpr int kMostTapMaps = 8;

// A map of low resolution that has been multiplied by each tap of a 3x3 convolution. The outputs
// are cut into panels of kTapPanel, the last of what is left; in a row, the nine products of a
// panel follow each other, tap by tap (3 * row + column): that of tap t and the panel's i-th output
// stands at 9 * first output of the panel + t * outputs of the panel + i. So any whole panels can
// be multiplied on their own.
struct DeviceTapProducts {
  DeviceMap products;                 // [tokens, 9 * channels]
  const DeviceSpan* spans = nullptr;  // of the images; null: a square of `side`, back to back
  int side = 0;
};

// The maps that are enlarged.
struct DeviceTapMaps {
  int count = 0;
  DeviceTapProducts maps[kMostTapMaps] = {};
};

// upsampled_taps.h on a GPU: sum = ReLU(sum + what all maps give). One type for all, channels of
// the sum a multiple of 8. A pixel's bits depend on its image's sizes alone. Throws
// std::invalid_argument if maps do not fit.
void AddUpsampledTapsReluCuda(const DeviceTapMaps& maps, const DeviceMap& sum,
                              const DeviceLevel& level, CUstream_st* stream);

}  // namespace spatialmamba
