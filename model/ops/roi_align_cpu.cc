#include <algorithm>
#include <cmath>
#include <vector>

#include "model/ops/roi_align_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/roi_align_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// The samples of one cell along one axis: how much each of the pixels [first, first + count) weighs
// in their sum. Neighbouring samples share pixels, so that these are fewer than the samples' taps.
struct CellTaps {
  int64_t first;
  int64_t count;
  const float* weights;
};

// A sample's two pixels and the weight of the second.
struct Taps {
  int64_t low;
  int64_t high;
  float to_high;
};

HWY_INLINE Taps TapsAt(float position, int64_t size) {
  position = std::max(position, 0.0F);
  const auto low = static_cast<int64_t>(position);
  if (low >= size - 1) return {size - 1, size - 1, 0.0F};
  return {low, low + 1, position - static_cast<float>(low)};
}

// One axis of a box: `low` and `side` in pixels of the map.
struct Axis {
  float low;
  float side;
  int64_t size;  // of the map
  int64_t cells;
  int64_t samples;  // of each cell

  HWY_INLINE float Position(int64_t cell, int64_t sample) const {
    const float cell_side = side / static_cast<float>(cells);
    return low + static_cast<float>(cell) * cell_side +
           (static_cast<float>(sample) + 0.5F) * cell_side / static_cast<float>(samples);
  }
};

HWY_INLINE Axis AxisOf(float from, float to, float scale, int64_t size, int64_t cells) {
  const float low = from * scale - 0.5F;
  const float side = to * scale - 0.5F - low;
  const float samples = std::ceil(side / static_cast<float>(cells));
  return {low, side, size, cells, samples > 0 ? static_cast<int64_t>(samples) : 0};
}

// The taps of one cell; its weights go to `room`, which has place for samples + 2 of them.
HWY_INLINE CellTaps CellOf(const Axis& axis, int64_t cell, float* room) {
  CellTaps taps{0, 0, room};
  for (int64_t i = 0; i < axis.samples; ++i) {
    const float position = axis.Position(cell, i);
    if (position < -1.0F || position > static_cast<float>(axis.size)) continue;
    const Taps at = TapsAt(position, axis.size);
    if (taps.count == 0) taps.first = at.low;
    while (taps.first + taps.count <= at.high) room[taps.count++] = 0.0F;
    room[at.low - taps.first] += 1.0F - at.to_high;
    room[at.high - taps.first] += at.to_high;
  }
  return taps;
}

// kVectors whole vectors of channels from c on of one cell or, if it is one, what is left of them.
// `samples` is what the sum is divided by.
template <int kVectors>
HWY_INLINE void CellChannels(const RoiAlignParams& p, const CellTaps& y, const CellTaps& x,
                             float samples, int64_t c, float* out) {
  const D d;
  const int64_t left = kVectors > 1 ? kLanes : p.channels - c;
  V sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
  for (int64_t i = 0; i < y.count; ++i) {
    const float* pixel = p.map + ((y.first + i) * p.width + x.first) * p.map_stride + c;
    for (int64_t j = 0; j < x.count; ++j, pixel += p.map_stride) {
      const V weight = hn::Set(d, y.weights[i] * x.weights[j]);
      for (int v = 0; v < kVectors; ++v) {
        sum[v] = hn::MulAdd(weight, LoadUpTo(pixel + v * kLanes, left), sum[v]);
      }
    }
  }
  const V divisor = hn::Set(d, samples);
  for (int v = 0; v < kVectors; ++v) {
    StoreUpTo(hn::Div(sum[v], divisor), out + c + v * kLanes, left);
  }
}

void Cell(const RoiAlignParams& p, const CellTaps& y, const CellTaps& x, float samples,
          float* out) {
  constexpr int kWide = 4;
  int64_t c = 0;
  for (; c + kWide * kLanes <= p.channels; c += kWide * kLanes) {
    CellChannels<kWide>(p, y, x, samples, c, out);
  }
  for (; c < p.channels; c += kLanes) CellChannels<1>(p, y, x, samples, c, out);
}

void Align(const RoiAlignParams& p, float* scratch, int64_t scratch_floats) {
  const Axis y = AxisOf(p.box.top, p.box.bottom, p.scale, p.height, p.cells);
  const Axis x = AxisOf(p.box.left, p.box.right, p.scale, p.width, p.cells);
  const auto samples = static_cast<float>(std::max<int64_t>(1, y.samples * x.samples));
  // One cell's weights down, all cells' weights across.
  const int64_t needed = y.samples + 2 + p.cells * (x.samples + 2);
  std::vector<float> larger;  // a box longer than a hundred thousand pixels
  if (needed > scratch_floats) {
    larger.resize(static_cast<size_t>(needed));
    scratch = larger.data();
  }
  std::vector<CellTaps> columns;
  columns.reserve(static_cast<size_t>(p.cells));
  for (int64_t cell = 0; cell < p.cells; ++cell) {
    columns.push_back(CellOf(x, cell, scratch + y.samples + 2 + cell * (x.samples + 2)));
  }
  for (int64_t row = 0; row < p.cells; ++row) {
    const CellTaps down = CellOf(y, row, scratch);
    for (int64_t column = 0; column < p.cells; ++column) {
      Cell(p, down, columns[static_cast<size_t>(column)], samples,
           p.out + (row * p.cells + column) * p.out_stride);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(Align);

void RoiAlignCpu(const RoiAlignParams& params, float* scratch, int64_t scratch_floats) {
  HWY_DYNAMIC_DISPATCH(Align)(params, scratch, scratch_floats);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
