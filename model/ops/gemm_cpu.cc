#include <algorithm>

#include "model/ops/gemm_params.h"
#include "model/ops/instruction_set.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/gemm_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

// Functions that use vdpbf16ps, which Highway's AVX-512 target does not have: they run only where
// UsesAvx512Bf16() says so.
#undef SPATIALMAMBA_BF16
#if HWY_TARGET == HWY_AVX3
#define SPATIALMAMBA_BF16 __attribute__((target("avx512bf16")))
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// A tile is kTileRows x 2 vectors of sums held in registers: 28 of the 32 of AVX-512, 12 of the 16
// of AVX2.
constexpr int64_t kTileRows = kLanes >= 16 ? 14 : 6;

// How a tile multiplies: fp32, bf16 widened to fp32, or bf16 by vdpbf16ps.
enum class Product { kFloat32, kWidened, kNative };

// Two bf16 numbers, in memory that was written as vectors.
using Pair __attribute__((may_alias)) = int32_t;

// Where a tile reads and writes: its first row, and its first column of out, bias and residual.
struct TileParams {
  const float* x;  // fp32, or fp32 rounded to bf16
  int64_t x_stride;
  const Pair* x_pairs;  // of the native product
  int64_t x_pairs_stride;
  const float* panel;     // of fp32 weights
  const uint32_t* pairs;  // of bf16 weights
  int64_t inputs;
  const float* bias;
  Activation activation;
  const float* residual;
  int64_t residual_stride;
  float* out;  // null: packed
  int64_t out_stride;
  float* packed;  // rounded, as the next product reads it
  int64_t packed_stride;
  int64_t columns;
};

template <int kRows, int kVectors>
using Sums = V[kRows][kVectors];

// Adds the products of input *x of each row.
template <int kRows, int kVectors>
HWY_INLINE void AddProducts(const float* HWY_RESTRICT x, int64_t x_stride, const V* w,
                            Sums<kRows, kVectors>& sum) {
  const D d;
  for (int r = 0; r < kRows; ++r) {
    const V value = hn::Set(d, x[r * x_stride]);
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(value, w[v], sum[r][v]);
  }
}

template <int kRows, int kVectors>
HWY_INLINE void Float32Sums(const TileParams& p, Sums<kRows, kVectors>& sum) {
  const float* HWY_RESTRICT x = p.x;
  const float* HWY_RESTRICT panel = p.panel;
  V w[kVectors];
  for (int64_t k = p.inputs; k > 0; --k, ++x, panel += PackedMatrix::kPanel) {
    for (int v = 0; v < kVectors; ++v) w[v] = hn::LoadU(D(), panel + v * kLanes);
    AddProducts<kRows, kVectors>(x, p.x_stride, w, sum);
  }
}

// A bf16 number is the upper half of an fp32 number.
template <int kRows, int kVectors>
HWY_INLINE void WidenedSums(const TileParams& p, Sums<kRows, kVectors>& sum) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const float* HWY_RESTRICT x = p.x;
  const uint32_t* HWY_RESTRICT pairs = p.pairs;
  V w[kVectors];
  for (int64_t k = p.inputs; k > 0; k -= 2, x += 2, pairs += PackedMatrix::kPanel) {
    for (int v = 0; v < kVectors; ++v) {
      w[v] = hn::BitCast(d, hn::ShiftLeft<16>(hn::LoadU(du, pairs + v * kLanes)));
    }
    AddProducts<kRows, kVectors>(x, p.x_stride, w, sum);
    for (int v = 0; v < kVectors; ++v) {
      w[v] = hn::BitCast(d, hn::And(hn::LoadU(du, pairs + v * kLanes), hn::Set(du, 0xffff0000U)));
    }
    AddProducts<kRows, kVectors>(x + 1, p.x_stride, w, sum);
  }
}

// To the nearest bf16 number, ties to even, as fp32.
HWY_INLINE V RoundedToBfloat16(V value) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1U));
  const auto rounded =
      hn::And(hn::Add(hn::Add(bits, hn::Set(du, 0x7fffU)), odd), hn::Set(du, 0xffff0000U));
  // The sum would turn some NaN into zeros.
  return hn::IfThenElse(hn::IsNaN(value), value, hn::BitCast(d, rounded));
}

// Sums of a tile with their bias, [rows, 2 * kLanes], still in L1 -> out or packed.
template <Activation kActivation>
void FinishRows(const TileParams& p, int64_t rows, const float* HWY_RESTRICT sums) {
  const D d;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < p.columns; c += kLanes) {
      const V y = Activate<kActivation>(hn::Load(d, sums + r * 2 * kLanes + c));
      if (p.packed != nullptr) {
        StoreUpTo(RoundedToBfloat16(y), p.packed + r * p.packed_stride + c, p.columns - c);
      } else {
        StoreUpTo(y, p.out + r * p.out_stride + c, p.columns - c);
      }
    }
  }
}

#ifdef SPATIALMAMBA_BF16

HWY_INLINE __mmask16 FirstLanes(int64_t count) {
  return count >= kLanes ? __mmask16{0xffff} : static_cast<__mmask16>((1U << count) - 1U);
}

// Up to 2 * kLanes values as pairs of bf16.
SPATIALMAMBA_BF16 inline void StorePairs(V low, V high, int64_t count, Pair* out) {
  const auto pairs = (__m512i)_mm512_cvtne2ps_pbh(high.raw, low.raw);
  _mm512_mask_storeu_epi32(out, FirstLanes((count + 1) / 2), pairs);
}

template <int kRows, int kVectors>
SPATIALMAMBA_BF16 inline void NativeSums(const TileParams& p, Sums<kRows, kVectors>& sum) {
  const Pair* x = p.x_pairs;
  const uint32_t* pairs = p.pairs;
  const int64_t stride = p.x_pairs_stride;
  __m512 total[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) total[r][v] = _mm512_setzero_ps();
  }
  for (int64_t k = p.inputs; k > 0; k -= 2, ++x, pairs += PackedMatrix::kPanel) {
    __m512bh w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = (__m512bh)_mm512_load_si512(pairs + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const auto value = (__m512bh)_mm512_set1_epi32(x[r * stride]);
      for (int v = 0; v < kVectors; ++v) total[r][v] = _mm512_dpbf16_ps(total[r][v], value, w[v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = V{total[r][v]};
  }
}

// As FinishRows, into pairs.
template <Activation kActivation>
SPATIALMAMBA_BF16 void FinishPairs(const TileParams& p, int64_t rows,
                                   const float* HWY_RESTRICT sums) {
  const D d;
  auto* out = reinterpret_cast<Pair*>(p.packed);
  for (int64_t r = 0; r < rows; ++r, sums += 2 * kLanes) {
    const V low = Activate<kActivation>(hn::Load(d, sums));
    const V high =
        p.columns > kLanes ? Activate<kActivation>(hn::Load(d, sums + kLanes)) : hn::Zero(d);
    StorePairs(low, high, p.columns, out + r * p.packed_stride);
  }
}

#endif  // SPATIALMAMBA_BF16

template <Product kProduct, Activation kActivation>
HWY_INLINE void Finish(const TileParams& p, int64_t rows, const float* sums) {
#ifdef SPATIALMAMBA_BF16
  if (kProduct == Product::kNative && p.packed != nullptr) {
    return FinishPairs<kActivation>(p, rows, sums);
  }
#endif
  FinishRows<kActivation>(p, rows, sums);
}

// What is costly or rare: by way of L1, so that it is compiled once and not for every tile.
template <Product kProduct>
HWY_NOINLINE void FinishTile(const TileParams& p, int64_t rows, const float* sums) {
  switch (p.activation) {
    case Activation::kNone:
      return Finish<kProduct, Activation::kNone>(p, rows, sums);
    case Activation::kRelu:
      return Finish<kProduct, Activation::kRelu>(p, rows, sums);
    case Activation::kSilu:
      return Finish<kProduct, Activation::kSilu>(p, rows, sums);
    case Activation::kGelu:
      return Finish<kProduct, Activation::kGelu>(p, rows, sums);
  }
}

template <Product kProduct, int kRows, int kVectors>
HWY_INLINE void StoreTile(const TileParams& p, const Sums<kRows, kVectors>& sum) {
  const D d;
  const bool relu = p.activation == Activation::kRelu;
  if (p.packed == nullptr && (relu || p.activation == Activation::kNone)) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = v * kLanes;
      const int64_t left = p.columns - column;
      const V bias = p.bias != nullptr ? LoadUpTo(p.bias + column, left) : hn::Zero(d);
      for (int r = 0; r < kRows; ++r) {
        V y = hn::Add(sum[r][v], bias);
        if (p.residual != nullptr) {
          y = hn::Add(y, LoadUpTo(p.residual + r * p.residual_stride + column, left));
        }
        if (relu) y = Activate<Activation::kRelu>(y);
        StoreUpTo(y, p.out + r * p.out_stride + column, left);
      }
    }
    return;
  }
  HWY_ALIGN float sums[kRows * 2 * kLanes];
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = v * kLanes;
    const V bias = p.bias != nullptr ? LoadUpTo(p.bias + column, p.columns - column) : hn::Zero(d);
    for (int r = 0; r < kRows; ++r) {
      hn::Store(hn::Add(sum[r][v], bias), d, sums + r * 2 * kLanes + column);
    }
  }
  FinishTile<kProduct>(p, kRows, sums);
}

// Sums for kRows rows and kVectors vectors of columns, k upwards in one accumulator each: the order
// of a row's sum does not depend on how many rows share the tile.
template <Product kProduct, int kRows, int kVectors>
struct Tile {
  static HWY_INLINE void Run(const TileParams& p) {
    Sums<kRows, kVectors> sum;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(D());
    }
    if constexpr (kProduct == Product::kFloat32) {
      Float32Sums<kRows, kVectors>(p, sum);
    } else {
      WidenedSums<kRows, kVectors>(p, sum);
    }
    StoreTile<kProduct, kRows, kVectors>(p, sum);
  }
};

#ifdef SPATIALMAMBA_BF16
template <int kRows, int kVectors>
struct Tile<Product::kNative, kRows, kVectors> {
  SPATIALMAMBA_BF16 static void Run(const TileParams& p) {
    Sums<kRows, kVectors> sum;
    NativeSums<kRows, kVectors>(p, sum);
    StoreTile<Product::kNative, kRows, kVectors>(p, sum);
  }
};
#endif

// kRows rows at a time while there are so many.
template <Product kProduct, int kRows, int kVectors>
HWY_INLINE void Tiles(TileParams& p, int64_t& rows) {
  for (; rows >= kRows; rows -= kRows) {
    Tile<kProduct, kRows, kVectors>::Run(p);
    p.x += kRows * p.x_stride;
    p.x_pairs += kRows * p.x_pairs_stride;
    if (p.out != nullptr) p.out += kRows * p.out_stride;
    if (p.packed != nullptr) p.packed += kRows * p.packed_stride;
    if (p.residual != nullptr) p.residual += kRows * p.residual_stride;
  }
}

// All rows for one group of at most two vectors of columns.
template <Product kProduct, int kVectors>
void AllRows(TileParams p, int64_t rows) {
  Tiles<kProduct, kTileRows, kVectors>(p, rows);
  if constexpr (kTileRows > 7) Tiles<kProduct, 7, kVectors>(p, rows);
  Tiles<kProduct, 4, kVectors>(p, rows);
  Tiles<kProduct, 2, kVectors>(p, rows);
  Tiles<kProduct, 1, kVectors>(p, rows);
}

// A row of `count` values in the packed form, in floats: pairs take half of it.
template <Product kProduct>
constexpr int64_t PackedStride(int64_t count) {
  return kProduct == Product::kNative ? (count + 1) / 2 : count + count % 2;
}

// Two vectors of columns at a time.
template <Product kProduct>
void AllPanels(const GemmParams& p, int64_t first_panel, int64_t last_panel) {
  constexpr bool kHalf = kProduct != Product::kFloat32;
  const Epilogue& e = p.epilogue;
  const int64_t inputs = p.weights->inputs();
  const int64_t outputs = p.weights->outputs();
  for (int64_t i = first_panel; i < last_panel; ++i) {
    const int64_t column = i * PackedMatrix::kPanel;
    const int64_t columns = std::min(PackedMatrix::kPanel, outputs - column);
    for (int64_t c = 0; c < columns; c += 2 * kLanes) {
      const int64_t at = column + c;
      TileParams tile{.x = kHalf ? p.staging : p.x,
                      .x_stride = kHalf ? PackedStride<kProduct>(inputs) : p.x_stride,
                      .x_pairs = reinterpret_cast<const Pair*>(p.staging),
                      .x_pairs_stride = kHalf ? PackedStride<kProduct>(inputs) : 0,
                      .panel = kHalf ? nullptr : p.weights->panel(i) + c,
                      .pairs = kHalf ? p.weights->pairs(i) + c : nullptr,
                      .inputs = inputs,
                      .bias = e.bias != nullptr ? e.bias + at : nullptr,
                      .activation = e.activation,
                      .residual = e.residual != nullptr ? e.residual + at : nullptr,
                      .residual_stride = e.residual_stride,
                      .out = p.out != nullptr ? p.out + at : nullptr,
                      .out_stride = p.out_stride,
                      .packed = nullptr,
                      .packed_stride = PackedStride<kProduct>(outputs),
                      .columns = std::min(2 * kLanes, columns - c)};
      if (p.packed_out != nullptr) {
        tile.packed = p.packed_out + (kProduct == Product::kNative ? at / 2 : at);
      }
      if (tile.columns > kLanes) {
        AllRows<kProduct, 2>(tile, p.rows);
      } else {
        AllRows<kProduct, 1>(tile, p.rows);
      }
    }
  }
}

// Rows of x rounded to bf16, as fp32, each padded with a zero to an even number of values.
void RoundRows(const GemmParams& p) {
  const int64_t inputs = p.weights->inputs();
  const int64_t stride = PackedStride<Product::kWidened>(inputs);
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    float* out = p.staging + r * stride;
    for (int64_t k = 0; k < stride; k += kLanes) {
      StoreUpTo(RoundedToBfloat16(LoadUpTo(x + k, inputs - k)), out + k, stride - k);
    }
  }
}

#ifdef SPATIALMAMBA_BF16

// Rows of x as pairs of bf16.
SPATIALMAMBA_BF16 void PackRows(const GemmParams& p) {
  const D d;
  const int64_t inputs = p.weights->inputs();
  auto* out = reinterpret_cast<Pair*>(p.staging);
  for (int64_t r = 0; r < p.rows; ++r, out += PackedStride<Product::kNative>(inputs)) {
    const float* x = p.x + r * p.x_stride;
    for (int64_t k = 0; k < inputs; k += 2 * kLanes) {
      const int64_t left = inputs - k;
      const V high = left > kLanes ? LoadUpTo(x + k + kLanes, left - kLanes) : hn::Zero(d);
      StorePairs(LoadUpTo(x + k, left), high, left, out + k / 2);
    }
  }
}

#endif  // SPATIALMAMBA_BF16

void Gemm(const GemmParams& p, int64_t first_panel, int64_t last_panel) {
  if (p.weights->type() == MatrixType::kFloat32) {
    return AllPanels<Product::kFloat32>(p, first_panel, last_panel);
  }
#ifdef SPATIALMAMBA_BF16
  if (UsesAvx512Bf16()) {
    if (p.x != nullptr) PackRows(p);
    return AllPanels<Product::kNative>(p, first_panel, last_panel);
  }
#endif
  if (p.x != nullptr) RoundRows(p);
  AllPanels<Product::kWidened>(p, first_panel, last_panel);
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(Gemm);

void GemmCpu(const GemmParams& params, int64_t first_panel, int64_t last_panel) {
  HWY_DYNAMIC_DISPATCH(Gemm)(params, first_panel, last_panel);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
