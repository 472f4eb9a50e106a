#include <algorithm>

#include "model/ops/upsampled_taps_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/upsampled_taps_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// The two rows of the map, and their weights, that one row of taps reads.
struct RowOfTaps {
  const float* upper;
  const float* lower;
  float weight;
};

// Interpolation along y and the sum over the taps' rows, for columns [first, first + count) of the
// map: mixed [count, 3, channels], the second index the taps' column.
HWY_INLINE void MixRows(const UpsampledTapsParams& p, int64_t row, int64_t first, int64_t count,
                        float* mixed) {
  const D d;
  RowOfTaps taps[3];
  int64_t used = 0;
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t y = row + i - 1;
    if (y < 0 || y >= p.height) continue;
    const float* own = p.products + 3 * i * p.channels;
    const BilinearSample& sample = p.rows[y];
    taps[used++] = {own + sample.low * p.width * p.products_stride,
                    own + sample.high * p.width * p.products_stride, sample.weight};
  }
  for (int64_t column = first; column < first + count; ++column) {
    const int64_t token = column * p.products_stride;
    for (int64_t c = 0; c < 3 * p.channels; c += kLanes) {
      const int64_t left = 3 * p.channels - c;
      V sum = hn::Zero(d);
      for (int64_t i = 0; i < used; ++i) {
        sum = hn::MulAdd(hn::Set(d, 1.0F - taps[i].weight),
                         LoadUpTo(taps[i].upper + token + c, left), sum);
        sum =
            hn::MulAdd(hn::Set(d, taps[i].weight), LoadUpTo(taps[i].lower + token + c, left), sum);
      }
      StoreUpTo(sum, mixed + c, left);
    }
    mixed += 3 * p.channels;
  }
}

void AddUpsampledTaps(const UpsampledTapsParams& p, int64_t row, int64_t first_column,
                      int64_t last_column, float* scratch) {
  const D d;
  const int64_t first = p.columns[std::max<int64_t>(first_column - 1, 0)].low;
  const int64_t last = p.columns[std::min(last_column, p.sum_width - 1)].high;
  MixRows(p, row, first, last - first + 1, scratch);
  const V floor = hn::Set(d, p.relu ? 0.0F : -HUGE_VALF);
  for (int64_t x = first_column; x < last_column; ++x) {
    float* out = p.sum + (row * p.sum_width + x) * p.sum_stride;
    const int64_t first_tap = x == 0 ? 1 : 0;
    const int64_t last_tap = x + 1 == p.sum_width ? 2 : 3;
    for (int64_t c = 0; c < p.channels; c += kLanes) {
      const int64_t left = p.channels - c;
      V sum = LoadUpTo(out + c, left);
      for (int64_t tap = first_tap; tap < last_tap; ++tap) {
        const BilinearSample& sample = p.columns[x + tap - 1];
        const float* own = scratch + tap * p.channels + c;
        sum = hn::MulAdd(hn::Set(d, 1.0F - sample.weight),
                         LoadUpTo(own + (sample.low - first) * 3 * p.channels, left), sum);
        sum = hn::MulAdd(hn::Set(d, sample.weight),
                         LoadUpTo(own + (sample.high - first) * 3 * p.channels, left), sum);
      }
      StoreUpTo(hn::Max(sum, floor), out + c, left);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(AddUpsampledTaps);

void AddUpsampledTapsCpu(const UpsampledTapsParams& params, int64_t row, int64_t first_column,
                         int64_t last_column, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AddUpsampledTaps)(params, row, first_column, last_column, scratch);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
