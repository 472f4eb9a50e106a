#pragma once

#include "model/ops/kernel.h"

// bilinear_axis.h and two_step_axis.h for one position at a time, in a kernel: the same bits, so
// that nothing need be uploaded. Every operation is rounded on its own, never fused.

namespace spatialmamba {

// Where a bilinear resize reads along one axis: (1 - weight) x[low] + weight x[high].
struct DeviceSample {
  int low;
  int high;
  float weight;
};

// Of position i of the `to` of an axis of `from` pixels.
__device__ __forceinline__ DeviceSample SampleAt(int from, int to, int i) {
  const float scale = __fdiv_rn(static_cast<float>(from), static_cast<float>(to));
  const float centre = __fmul_rn(scale, __fadd_rn(static_cast<float>(i), 0.5f));
  const float position = fmaxf(__fsub_rn(centre, 0.5f), 0.0f);
  DeviceSample sample;
  sample.low = min(static_cast<int>(position), from - 1);
  sample.high = min(sample.low + 1, from - 1);
  sample.weight = fminf(fmaxf(__fsub_rn(position, static_cast<float>(sample.low)), 0.0f), 1.0f);
  return sample;
}

// What two resizes in a row read along one axis: the sum over j of weights[j] x[first + j], of
// which weights from `used` on are zero.
constexpr int kTwoStepTaps = 4;
struct DeviceTwoStep {
  int first;
  int used;
  float weights[kTwoStepTaps];
};

// Of position i of `to`, enlarged from `from` to `between` pixels (not fewer) before.
__device__ __forceinline__ void FillTwoStep(int from, int between, int to, int i,
                                            DeviceTwoStep* taps) {
  const DeviceSample outer = SampleAt(between, to, i);
  const DeviceSample low = SampleAt(from, between, outer.low);
  const DeviceSample high = SampleAt(from, between, outer.high);
  taps->first = low.low;
#pragma unroll
  for (int j = 0; j < kTwoStepTaps; ++j) taps->weights[j] = 0;
  const auto add = [taps](const DeviceSample& at, float share) {
    float* left = &taps->weights[at.low - taps->first];
    *left = __fadd_rn(*left, __fmul_rn(share, __fsub_rn(1.0f, at.weight)));
    float* right = &taps->weights[at.high - taps->first];
    *right = __fadd_rn(*right, __fmul_rn(share, at.weight));
  };
  add(low, __fsub_rn(1.0f, outer.weight));
  add(high, outer.weight);
  taps->used = 1;
#pragma unroll
  for (int j = 1; j < kTwoStepTaps; ++j) {
    if (taps->weights[j] != 0) taps->used = j + 1;
  }
}

}  // namespace spatialmamba
