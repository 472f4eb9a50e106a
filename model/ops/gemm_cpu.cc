#include <algorithm>

#include "model/ops/gemm_avx512bf16.h"
#include "model/ops/gemm_params.h"
#include "model/ops/instruction_set.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/gemm_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// A tile is kTileRows x 2 vectors of sums held in registers: 28 of the 32 of AVX-512, 12 of the 16
// of AVX2.
constexpr int64_t kTileRows = kLanes >= 16 ? 14 : 6;

// Where a tile reads and writes: its first row, and its first column of out, bias and residual.
struct TileParams {
  const float* x;
  int64_t x_stride;
  const float* panel;     // of fp32 weights
  const uint32_t* pairs;  // of bf16 weights
  int64_t inputs;
  const float* bias;
  const float* residual;
  int64_t residual_stride;
  float* out;
  int64_t out_stride;
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

// Sums for kRows rows and kVectors vectors of columns, k upwards in one accumulator each: the order
// of a row's sum does not depend on how many rows share the tile.
template <MatrixType kType, int kRows, int kVectors>
HWY_INLINE void Tile(const TileParams& p) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  Sums<kRows, kVectors> sum;
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  const float* HWY_RESTRICT x = p.x;
  V w[kVectors];
  if constexpr (kType == MatrixType::kFloat32) {
    const float* HWY_RESTRICT panel = p.panel;
    for (int64_t k = p.inputs; k > 0; --k, ++x, panel += PackedMatrix::kPanel) {
      for (int v = 0; v < kVectors; ++v) w[v] = hn::LoadU(d, panel + v * kLanes);
      AddProducts<kRows, kVectors>(x, p.x_stride, w, sum);
    }
  } else {
    // A bf16 number is the upper half of an fp32 number.
    const uint32_t* HWY_RESTRICT pairs = p.pairs;
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
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = v * kLanes;
    const int64_t left = p.columns - column;
    const V bias = p.bias != nullptr ? LoadUpTo(p.bias + column, left) : hn::Zero(d);
    for (int r = 0; r < kRows; ++r) {
      V y = hn::Add(sum[r][v], bias);
      if (p.residual != nullptr)
        y = hn::Add(y, LoadUpTo(p.residual + r * p.residual_stride + column, left));
      StoreUpTo(y, p.out + r * p.out_stride + column, left);
    }
  }
}

// kRows rows at a time while there are so many.
template <MatrixType kType, int kRows, int kVectors>
HWY_INLINE void Tiles(TileParams& p, int64_t& rows) {
  for (; rows >= kRows; rows -= kRows) {
    Tile<kType, kRows, kVectors>(p);
    p.x += kRows * p.x_stride;
    p.out += kRows * p.out_stride;
    if (p.residual != nullptr) p.residual += kRows * p.residual_stride;
  }
}

// All rows for one group of at most two vectors of columns.
template <MatrixType kType, int kVectors>
void AllRows(TileParams p, int64_t rows) {
  Tiles<kType, kTileRows, kVectors>(p, rows);
  if constexpr (kTileRows > 7) Tiles<kType, 7, kVectors>(p, rows);
  Tiles<kType, 4, kVectors>(p, rows);
  Tiles<kType, 2, kVectors>(p, rows);
  Tiles<kType, 1, kVectors>(p, rows);
}

// Two vectors of columns at a time.
template <MatrixType kType>
void PanelSums(const GemmParams& p, int64_t panel, int64_t column, int64_t columns) {
  constexpr bool kHalf = kType == MatrixType::kBfloat16;
  const Epilogue& e = p.epilogue;
  for (int64_t c = 0; c < columns; c += 2 * kLanes) {
    const int64_t at = column + c;
    const int64_t inputs = p.weights->inputs();
    const TileParams tile{.x = kHalf ? p.staging : p.x,
                          .x_stride = kHalf ? inputs + inputs % 2 : p.x_stride,
                          .panel = kHalf ? nullptr : p.weights->panel(panel) + c,
                          .pairs = kHalf ? p.weights->pairs(panel) + c : nullptr,
                          .inputs = inputs,
                          .bias = e.bias != nullptr ? e.bias + at : nullptr,
                          .residual = e.residual != nullptr ? e.residual + at : nullptr,
                          .residual_stride = e.residual_stride,
                          .out = p.out + at,
                          .out_stride = p.out_stride,
                          .columns = std::min(2 * kLanes, columns - c)};
    if (tile.columns > kLanes) {
      AllRows<kType, 2>(tile, p.rows);
    } else {
      AllRows<kType, 1>(tile, p.rows);
    }
  }
}

// Rows of x rounded to bf16, as fp32, each padded with a zero to an even number of values.
void RoundRows(const GemmParams& p) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const int64_t inputs = p.weights->inputs();
  const int64_t stride = inputs + inputs % 2;
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    float* out = p.staging + r * stride;
    for (int64_t k = 0; k < stride; k += kLanes) {
      const V value = LoadUpTo(x + k, inputs - k);
      const auto bits = hn::BitCast(du, value);
      const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1U));
      const auto rounded =
          hn::And(hn::Add(hn::Add(bits, hn::Set(du, 0x7fffU)), odd), hn::Set(du, 0xffff0000U));
      // The sum would turn some NaN into zeros.
      StoreUpTo(hn::IfThenElse(hn::IsNaN(value), value, hn::BitCast(d, rounded)), out + k,
                stride - k);
    }
  }
}

template <Activation kActivation>
void ActivateRows(const GemmParams& p, int64_t column, int64_t columns) {
  for (int64_t r = 0; r < p.rows; ++r) {
    float* out = p.out + r * p.out_stride + column;
    for (int64_t c = 0; c < columns; c += kLanes) {
      StoreUpTo(Activate<kActivation>(LoadUpTo(out + c, columns - c)), out + c, columns - c);
    }
  }
}

void Gemm(const GemmParams& p, int64_t first_panel, int64_t last_panel) {
  const Epilogue& e = p.epilogue;
  const bool half = p.weights->type() == MatrixType::kBfloat16;
  const bool native = half && HWY_TARGET == HWY_AVX3 && UsesAvx512Bf16();
  if (native) {
    PackRowsAvx512Bf16(p);
  } else if (half) {
    RoundRows(p);
  }
  for (int64_t i = first_panel; i < last_panel; ++i) {
    const int64_t column = i * PackedMatrix::kPanel;
    const int64_t columns = std::min(PackedMatrix::kPanel, p.weights->outputs() - column);
    if (native) {
      PanelSumsAvx512Bf16(p, i);
    } else if (half) {
      PanelSums<MatrixType::kBfloat16>(p, i, column, columns);
    } else {
      PanelSums<MatrixType::kFloat32>(p, i, column, columns);
    }
    // While this panel's part of the output is still in the cache.
    switch (e.activation) {
      case Activation::kNone:
        break;
      case Activation::kRelu:
        ActivateRows<Activation::kRelu>(p, column, columns);
        break;
      case Activation::kSilu:
        ActivateRows<Activation::kSilu>(p, column, columns);
        break;
      case Activation::kGelu:
        ActivateRows<Activation::kGelu>(p, column, columns);
        break;
    }
  }
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
