#include "model/ops/depthwise_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/depthwise_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// The nine taps of kLanes channels from c on.
struct Taps {
  Taps(const DepthwiseParams& p, int64_t c, int64_t left) {
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < 3; ++j) {
        taps[i][j] = LoadUpTo(p.taps + (3 * i + j) * p.channels + c, left);
      }
    }
    bias = LoadUpTo(p.bias + c, left);
  }
  V taps[3][3];
  V bias;
};

// What kLanes channels of kRows + 2 input rows hold in one column; zero outside of the image. Each
// value is loaded once and used for up to nine sums.
template <int kRows>
struct Column {
  V values[kRows + 2];
};

template <Activation kActivation>
HWY_INLINE void Finish(const DepthwiseParams& p, V sum, V middle, int64_t left, float* out) {
  sum = Activate<kActivation>(sum);
  if (p.add_input) sum = hn::Add(sum, middle);
  StoreUpTo(sum, out, left);
}

// kRows output rows from `row` on, for kLanes channels from c on, with stride one.
template <Activation kActivation, int kRows>
HWY_INLINE void RowsOfChannels(const DepthwiseParams& p, int64_t row, int64_t c) {
  const D d;
  const int64_t left = p.channels - c;
  const Taps weights(p, c, left);
  const float* rows[kRows + 2];
  bool inside[kRows + 2];
  for (int64_t i = 0; i < kRows + 2; ++i) {
    const int64_t y = row + i - 1;
    inside[i] = y >= 0 && y < p.height;
    rows[i] = p.x + (inside[i] ? y : row) * p.width * p.x_stride + c;
  }
  const auto load = [&](int64_t x) HWY_ATTR {
    Column<kRows> column;
    for (int i = 0; i < kRows + 2; ++i) {
      const V value = LoadUpTo(rows[i] + x * p.x_stride, left);
      column.values[i] = inside[i] ? value : hn::Zero(d);
    }
    return column;
  };
  Column<kRows> before;
  for (V& value : before.values) value = hn::Zero(d);
  Column<kRows> at = load(0);
  float* out = p.out + row * p.width * p.out_stride + c;
  for (int64_t x = 0; x < p.width; ++x, out += p.out_stride) {
    Column<kRows> after;
    if (x + 1 < p.width) {
      after = load(x + 1);
    } else {
      for (V& value : after.values) value = hn::Zero(d);
    }
    for (int r = 0; r < kRows; ++r) {
      V sum = weights.bias;
      for (int i = 0; i < 3; ++i) {
        sum = hn::MulAdd(before.values[r + i], weights.taps[i][0], sum);
        sum = hn::MulAdd(at.values[r + i], weights.taps[i][1], sum);
        sum = hn::MulAdd(after.values[r + i], weights.taps[i][2], sum);
      }
      Finish<kActivation>(p, sum, at.values[r + 1], left, out + r * p.width * p.out_stride);
    }
    before = at;
    at = after;
  }
}

// One output row for kLanes channels from c on, with stride two.
template <Activation kActivation>
HWY_INLINE void StridedRow(const DepthwiseParams& p, int64_t row, int64_t c) {
  const D d;
  const int64_t left = p.channels - c;
  const Taps weights(p, c, left);
  const int64_t out_width = (p.width + 1) / 2;
  float* out = p.out + row * out_width * p.out_stride + c;
  V before[3];
  for (V& value : before) value = hn::Zero(d);
  for (int64_t column = 0; column < out_width; ++column, out += p.out_stride) {
    V sum = weights.bias;
    V middle = hn::Zero(d);
    for (int64_t i = 0; i < 3; ++i) {
      const int64_t y = 2 * row + i - 1;
      if (y < 0 || y >= p.height) continue;
      const float* from = p.x + (y * p.width + 2 * column) * p.x_stride + c;
      const V at = LoadUpTo(from, left);
      const V after = 2 * column + 1 < p.width ? LoadUpTo(from + p.x_stride, left) : hn::Zero(d);
      sum = hn::MulAdd(before[i], weights.taps[i][0], sum);
      sum = hn::MulAdd(at, weights.taps[i][1], sum);
      sum = hn::MulAdd(after, weights.taps[i][2], sum);
      before[i] = after;
      if (i == 1) middle = at;
    }
    Finish<kActivation>(p, sum, middle, left, out);
  }
}

template <Activation kActivation>
void Rows(const DepthwiseParams& p, int64_t first_row, int64_t last_row) {
  const int64_t out_width = (p.width + p.step - 1) / p.step;
  constexpr int kTogether = 2;  // rows: four of them are read then, in place of twice three
  for (int64_t row = first_row; row < last_row;) {
    const int64_t count = p.step == 1 && row + kTogether <= last_row ? kTogether : 1;
    for (int64_t c = 0; c < p.channels; c += kLanes) {
      if (p.step == 2) {
        StridedRow<kActivation>(p, row, c);
      } else if (count == kTogether) {
        RowsOfChannels<kActivation, kTogether>(p, row, c);
      } else {
        RowsOfChannels<kActivation, 1>(p, row, c);
      }
    }
    const int64_t done = row;
    row += count;
    if (p.normed == nullptr) continue;
    for (int64_t i = done * out_width; i < row * out_width; ++i) {
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
