#include "model/ops/state_fusion_params.h"

#include <algorithm>

#include "model/ops/state_fusion.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/state_fusion_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// c * h' + skip * x of one row for kLanes channels from `channel` on.
HWY_INLINE void ObserveRow(const StateFusionParams& p, int64_t row, int64_t channel) {
  const D d;
  const int64_t left = p.channels - channel;
  V taps[kFusionTaps];
  const float* rows[kFusionTaps];  // the row of the image that each tap reads
  for (int k = 0; k < kFusionTaps; ++k) {
    taps[k] = LoadUpTo(p.taps + k * p.channels + channel, left);
    const int64_t y = std::clamp<int64_t>(row + kFusionOffsets[k].row, 0, p.height - 1);
    rows[k] = p.h + y * p.width * p.h_stride + channel;
  }
  const V skip = LoadUpTo(p.skip + channel, left);
  for (int64_t column = 0; column < p.width; ++column) {
    const bool inner = column >= 5 && column + 5 < p.width;
    V even = hn::Zero(d);
    V odd = hn::Zero(d);
    for (int k = 0; k < kFusionTaps; ++k) {
      int64_t at = column + kFusionOffsets[k].column;
      if (!inner) at = std::clamp<int64_t>(at, 0, p.width - 1);
      const V h = LoadUpTo(rows[k] + at * p.h_stride, left);
      V& sum = k % 2 == 0 ? even : odd;
      sum = hn::MulAdd(h, taps[k], sum);
    }
    const int64_t token = row * p.width + column;
    const V x = LoadUpTo(p.x + token * p.x_stride + channel, left);
    const V y =
        hn::MulAdd(hn::Add(even, odd), hn::Set(d, p.c[token * p.c_stride]), hn::Mul(skip, x));
    StoreUpTo(y, p.out + token * p.out_stride + channel, left);
  }
}

void FusionRows(const StateFusionParams& p, int64_t first_row, int64_t last_row) {
  for (int64_t row = first_row; row < last_row; ++row) {
    for (int64_t channel = 0; channel < p.channels; channel += kLanes) ObserveRow(p, row, channel);
    for (int64_t token = row * p.width; token < (row + 1) * p.width; ++token) {
      float* out = p.out + token * p.out_stride;
      const float* z = p.z + token * p.z_stride;
      const Moments moments = MomentsOf(out, p.channels, p.norm.epsilon);
      for (int64_t c = 0; c < p.channels; c += kLanes) {
        const int64_t left = p.channels - c;
        const V y = Normalised(LoadUpTo(out + c, left), moments, LoadUpTo(p.norm.gain + c, left),
                               LoadUpTo(p.norm.bias + c, left));
        StoreUpTo(hn::Mul(y, Silu(LoadUpTo(z + c, left))), out + c, left);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(FusionRows);

void StateFusionCpu(const StateFusionParams& params, int64_t first_row, int64_t last_row) {
  HWY_DYNAMIC_DISPATCH(FusionRows)(params, first_row, last_row);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
