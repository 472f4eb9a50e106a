#include "model/ops/gemm_avx512bf16.h"

#if defined(__x86_64__)

#include <algorithm>

// The headers above must not be compiled for this target: their inline functions would be merged
// with those of other files and run on processors that lack it.
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include <immintrin.h>

namespace spatialmamba {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kTileRows = 14;  // 28 sums, 2 weights and 1 input: 31 of the 32 registers

// A pair of bf16 numbers, in memory that was written as vectors.
using Pair __attribute__((may_alias)) = int32_t;

int64_t PairsOfRow(const GemmParams& p) { return (p.weights->inputs() + 1) / 2; }

__mmask16 FirstLanes(int64_t count) {
  return count >= kLanes ? __mmask16{0xffff} : static_cast<__mmask16>((1U << count) - 1U);
}

struct Tile {
  const Pair* x;  // [rows, pairs]
  const uint32_t* panel;
  int64_t pairs;
  const float* bias;
  const float* residual;
  int64_t residual_stride;
  float* out;
  int64_t out_stride;
  __mmask16 mask[2];
};

template <int kRows, int kVectors>
inline __attribute__((always_inline)) void Sum(const Tile& t) {
  __m512 sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_setzero_ps();
  }
  const Pair* x = t.x;
  const uint32_t* panel = t.panel;
  const int64_t stride = t.pairs;
  for (int64_t k = t.pairs; k > 0; --k, ++x, panel += PackedMatrix::kPanel) {
    __m512bh w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = (__m512bh)_mm512_load_si512(panel + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const auto value = (__m512bh)_mm512_set1_epi32(x[r * stride]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], value, w[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const __mmask16 mask = t.mask[v];
    const __m512 bias =
        t.bias != nullptr ? _mm512_maskz_loadu_ps(mask, t.bias + v * kLanes) : _mm512_setzero_ps();
    for (int r = 0; r < kRows; ++r) {
      __m512 y = _mm512_add_ps(sum[r][v], bias);
      if (t.residual != nullptr) {
        const float* residual = t.residual + r * t.residual_stride + v * kLanes;
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, residual));
      }
      _mm512_mask_storeu_ps(t.out + r * t.out_stride + v * kLanes, mask, y);
    }
  }
}

template <int kRows, int kVectors>
inline __attribute__((always_inline)) void SumRows(Tile& t, int64_t& rows) {
  for (; rows >= kRows; rows -= kRows) {
    Sum<kRows, kVectors>(t);
    t.x += kRows * t.pairs;
    t.out += kRows * t.out_stride;
    if (t.residual != nullptr) t.residual += kRows * t.residual_stride;
  }
}

template <int kVectors>
void SumAllRows(Tile t, int64_t rows) {
  SumRows<kTileRows, kVectors>(t, rows);
  SumRows<7, kVectors>(t, rows);
  SumRows<4, kVectors>(t, rows);
  SumRows<2, kVectors>(t, rows);
  SumRows<1, kVectors>(t, rows);
}

}  // namespace

void PackRowsAvx512Bf16(const GemmParams& p) {
  const int64_t inputs = p.weights->inputs();
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    auto* out = reinterpret_cast<Pair*>(p.staging) + r * PairsOfRow(p);
    for (int64_t k = 0; k < inputs; k += 2 * kLanes) {
      const int64_t left = inputs - k;
      const __m512 low = _mm512_maskz_loadu_ps(FirstLanes(left), x + k);
      const __m512 high = left > kLanes
                              ? _mm512_maskz_loadu_ps(FirstLanes(left - kLanes), x + k + kLanes)
                              : _mm512_setzero_ps();
      const auto pairs = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      _mm512_mask_storeu_epi32(out + k / 2, FirstLanes((left + 1) / 2), pairs);
    }
  }
}

void PanelSumsAvx512Bf16(const GemmParams& p, int64_t panel) {
  const Epilogue& e = p.epilogue;
  const int64_t column = panel * PackedMatrix::kPanel;
  const int64_t columns = std::min(PackedMatrix::kPanel, p.weights->outputs() - column);
  const Tile tile{.x = reinterpret_cast<const Pair*>(p.staging),
                  .panel = p.weights->pairs(panel),
                  .pairs = PairsOfRow(p),
                  .bias = e.bias != nullptr ? e.bias + column : nullptr,
                  .residual = e.residual != nullptr ? e.residual + column : nullptr,
                  .residual_stride = e.residual_stride,
                  .out = p.out + column,
                  .out_stride = p.out_stride,
                  .mask = {FirstLanes(columns),
                           columns > kLanes ? FirstLanes(columns - kLanes) : __mmask16{0}}};
  if (columns > kLanes) {
    SumAllRows<2>(tile, p.rows);
  } else {
    SumAllRows<1>(tile, p.rows);
  }
}

}  // namespace spatialmamba

#pragma GCC pop_options

#else

#include <stdexcept>

namespace spatialmamba {

void PackRowsAvx512Bf16(const GemmParams&) {
  throw std::logic_error("AVX-512 BF16 on another architecture");
}
void PanelSumsAvx512Bf16(const GemmParams&, int64_t) {
  throw std::logic_error("AVX-512 BF16 on another architecture");
}

}  // namespace spatialmamba

#endif
