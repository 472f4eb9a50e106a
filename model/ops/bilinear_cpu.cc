#include "model/ops/bilinear_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/bilinear_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// (1 - weight) a + weight b.
HWY_INLINE V Mixed(V a, V b, V weight) {
  return hn::MulAdd(weight, b, hn::NegMulAdd(weight, a, a));
}

void AddBilinearRows(const BilinearParams& p, int64_t first_row, int64_t last_row) {
  const D d;
  for (int64_t y = first_row; y < last_row; ++y) {
    const BilinearSample& row = p.rows[y];
    const float* upper = p.x + row.low * p.width * p.x_stride;
    const float* lower = p.x + row.high * p.width * p.x_stride;
    const V down = hn::Set(d, row.weight);
    float* sum = p.sum + y * p.sum_width * p.sum_stride;
    for (int64_t x = 0; x < p.sum_width; ++x, sum += p.sum_stride) {
      const BilinearSample& column = p.columns[x];
      const int64_t left = column.low * p.x_stride;
      const int64_t right = column.high * p.x_stride;
      const V across = hn::Set(d, column.weight);
      for (int64_t c = 0; c < p.channels; c += kLanes) {
        const int64_t rest = p.channels - c;
        const V above =
            Mixed(LoadUpTo(upper + left + c, rest), LoadUpTo(upper + right + c, rest), across);
        const V below =
            Mixed(LoadUpTo(lower + left + c, rest), LoadUpTo(lower + right + c, rest), across);
        StoreUpTo(hn::Add(LoadUpTo(sum + c, rest), Mixed(above, below, down)), sum + c, rest);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(AddBilinearRows);

void AddBilinearCpu(const BilinearParams& params, int64_t first_row, int64_t last_row) {
  HWY_DYNAMIC_DISPATCH(AddBilinearRows)(params, first_row, last_row);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
