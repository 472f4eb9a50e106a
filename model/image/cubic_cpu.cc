#include "model/image/cubic_cpu.h"

#include <algorithm>
#include <array>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/image/cubic_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int32_t kHalf = 1 << (kCubicBits - 1);

uint8_t Byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kCubicBits, 0, 255)); }

// One pixel without reading or writing beyond it.
void CubicPixel(const uint8_t* pixel, const CubicTaps& taps, uint8_t* result) {
  std::array<int32_t, 3> sums = {kHalf, kHalf, kHalf};
  for (const int32_t weight : taps.weights) {
    for (int32_t& sum : sums) sum += weight * *pixel++;
  }
  std::ranges::transform(sums, result, Byte);
}

#if HWY_TARGET == HWY_SCALAR

void CubicColumns(const uint8_t* source, int64_t, std::span<const CubicTaps> columns,
                  uint8_t* result) {
  for (const CubicTaps& taps : columns) {
    CubicPixel(source + taps.first * 3, taps, result);
    result += 3;
  }
}

#else

// The three values of a pixel lie in four lanes; the fourth is the next pixel's and comes to
// nothing.
void CubicColumns(const uint8_t* source, int64_t readable, std::span<const CubicTaps> columns,
                  uint8_t* result) {
  const hn::FixedTag<int32_t, 4> di;
  const hn::FixedTag<uint8_t, 4> du;
  for (size_t i = 0; i < columns.size(); ++i, result += 3) {
    const CubicTaps& taps = columns[i];
    const uint8_t* pixel = source + taps.first * 3;
    const int64_t end = (taps.first + static_cast<int64_t>(taps.weights.size())) * 3;
    if (end + 1 > readable || i + 1 == columns.size()) {
      CubicPixel(pixel, taps, result);
      continue;
    }
    auto sum = hn::Set(di, kHalf);
    for (const int32_t weight : taps.weights) {
      const auto values = hn::PromoteTo(di, hn::LoadU(du, pixel));
      sum = hn::Add(sum, hn::Mul(values, hn::Set(di, weight)));
      pixel += 3;
    }
    hn::StoreU(hn::DemoteTo(du, hn::ShiftRight<kCubicBits>(sum)), du, result);
  }
}

#endif

void CubicRows(std::span<const uint8_t* const> rows, std::span<const int32_t> weights,
               int64_t count, uint8_t* result) {
  const hn::ScalableTag<int32_t> di;
  const hn::Rebind<uint8_t, decltype(di)> du;
  const auto lanes = static_cast<int64_t>(hn::Lanes(di));
  int64_t at = 0;
  for (; at + lanes <= count; at += lanes) {
    auto sum = hn::Set(di, kHalf);
    for (size_t k = 0; k < weights.size(); ++k) {
      const auto values = hn::PromoteTo(di, hn::LoadU(du, rows[k] + at));
      sum = hn::Add(sum, hn::Mul(values, hn::Set(di, weights[k])));
    }
    hn::StoreU(hn::DemoteTo(du, hn::ShiftRight<kCubicBits>(sum)), du, result + at);
  }
  for (; at < count; ++at) {
    int32_t sum = kHalf;
    for (size_t k = 0; k < weights.size(); ++k) sum += weights[k] * rows[k][at];
    result[at] = Byte(sum);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(CubicColumns);
HWY_EXPORT(CubicRows);

void CubicColumnsCpu(const uint8_t* source, int64_t readable, std::span<const CubicTaps> columns,
                     uint8_t* result) {
  HWY_DYNAMIC_DISPATCH(CubicColumns)(source, readable, columns, result);
}

void CubicRowsCpu(std::span<const uint8_t* const> rows, std::span<const int32_t> weights,
                  int64_t count, uint8_t* result) {
  HWY_DYNAMIC_DISPATCH(CubicRows)(rows, weights, count, result);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
