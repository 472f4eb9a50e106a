#include "model/ops/layer_norm_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/layer_norm_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

void LayerNormRows(const LayerNormParams& p, int64_t first_row, int64_t last_row) {
  for (int64_t row = first_row; row < last_row; ++row) {
    NormaliseToken(p.x + row * p.x_stride, p.channels, p.norm, p.out + row * p.out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(LayerNormRows);

void LayerNormCpu(const LayerNormParams& params, int64_t first_row, int64_t last_row) {
  HWY_DYNAMIC_DISPATCH(LayerNormRows)(params, first_row, last_row);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
