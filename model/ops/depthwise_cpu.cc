#include "model/ops/depthwise_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/depthwise_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// One output row for kLanes channels from c on. Taps above and below the image read the middle row
// with weight zero.
template <Activation kActivation>
HWY_INLINE void RowOfChannels(const DepthwiseParams& p, int64_t row, int64_t c) {
  const D d;
  const int64_t left = p.channels - c;
  const int64_t middle = row * p.step;
  const float* rows[3];
  V taps[3][3];
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t y = middle + i - 1;
    const bool inside = y >= 0 && y < p.height;
    rows[i] = p.x + (inside ? y : middle) * p.width * p.x_stride + c;
    for (int64_t j = 0; j < 3; ++j) {
      taps[i][j] = inside ? LoadUpTo(p.taps + (3 * i + j) * p.channels + c, left) : hn::Zero(d);
    }
  }
  const V bias = LoadUpTo(p.bias + c, left);
  const int64_t out_width = (p.width + p.step - 1) / p.step;
  float* out = p.out + row * out_width * p.out_stride + c;
  for (int64_t column = 0; column < out_width; ++column, out += p.out_stride) {
    const int64_t x = column * p.step;
    V sum = bias;
    for (int64_t i = 0; i < 3; ++i) {
      const float* at = rows[i] + x * p.x_stride;
      if (x > 0) sum = hn::MulAdd(LoadUpTo(at - p.x_stride, left), taps[i][0], sum);
      sum = hn::MulAdd(LoadUpTo(at, left), taps[i][1], sum);
      if (x + 1 < p.width) sum = hn::MulAdd(LoadUpTo(at + p.x_stride, left), taps[i][2], sum);
    }
    sum = Activate<kActivation>(sum);
    if (p.add_input) sum = hn::Add(sum, LoadUpTo(rows[1] + x * p.x_stride, left));
    StoreUpTo(sum, out, left);
  }
}

template <Activation kActivation>
void Rows(const DepthwiseParams& p, int64_t first_row, int64_t last_row) {
  const int64_t out_width = (p.width + p.step - 1) / p.step;
  for (int64_t row = first_row; row < last_row; ++row) {
    for (int64_t c = 0; c < p.channels; c += kLanes) RowOfChannels<kActivation>(p, row, c);
    if (p.normed == nullptr) continue;
    for (int64_t i = row * out_width; i < (row + 1) * out_width; ++i) {
      NormaliseToken(p.out + i * p.out_stride, p.channels, p.norm, p.normed + i * p.normed_stride);
    }
  }
}

void DepthwiseRows(const DepthwiseParams& p, int64_t first_row, int64_t last_row) {
  switch (p.activation) {
    case Activation::kNone:
      return Rows<Activation::kNone>(p, first_row, last_row);
    case Activation::kRelu:
      return Rows<Activation::kRelu>(p, first_row, last_row);
    case Activation::kSilu:
      return Rows<Activation::kSilu>(p, first_row, last_row);
    case Activation::kGelu:
      return Rows<Activation::kGelu>(p, first_row, last_row);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(DepthwiseRows);

void DepthwiseCpu(const DepthwiseParams& params, int64_t first_row, int64_t last_row) {
  HWY_DYNAMIC_DISPATCH(DepthwiseRows)(params, first_row, last_row);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
