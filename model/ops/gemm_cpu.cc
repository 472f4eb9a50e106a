#include <algorithm>

#include "model/ops/gemm_params.h"

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
  const float* panel;
  int64_t inputs;
  const float* bias;
  const float* residual;
  int64_t residual_stride;
  float* out;
  int64_t out_stride;
  int64_t columns;
};

// Sums for kRows rows and kVectors vectors of columns, k upwards in one accumulator each: the order
// of a row's sum does not depend on how many rows share the tile.
template <int kRows, int kVectors>
HWY_INLINE void Tile(const TileParams& p) {
  const D d;
  V sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  const float* HWY_RESTRICT x = p.x;
  const float* HWY_RESTRICT panel = p.panel;
  const int64_t x_stride = p.x_stride;
  for (int64_t k = p.inputs; k > 0; --k, ++x, panel += PackedMatrix::kPanel) {
    V w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = hn::LoadU(d, panel + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const V value = hn::Set(d, x[r * x_stride]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(value, w[v], sum[r][v]);
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
template <int kRows, int kVectors>
HWY_INLINE void Tiles(TileParams& p, int64_t& rows) {
  for (; rows >= kRows; rows -= kRows) {
    Tile<kRows, kVectors>(p);
    p.x += kRows * p.x_stride;
    p.out += kRows * p.out_stride;
    if (p.residual != nullptr) p.residual += kRows * p.residual_stride;
  }
}

// All rows for one group of at most two vectors of columns.
template <int kVectors>
void AllRows(TileParams p, int64_t rows) {
  Tiles<kTileRows, kVectors>(p, rows);
  if constexpr (kTileRows > 7) Tiles<7, kVectors>(p, rows);
  Tiles<4, kVectors>(p, rows);
  Tiles<2, kVectors>(p, rows);
  Tiles<1, kVectors>(p, rows);
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
  for (int64_t i = first_panel; i < last_panel; ++i) {
    const int64_t column = i * PackedMatrix::kPanel;
    const int64_t columns = std::min(PackedMatrix::kPanel, p.weights->outputs() - column);
    for (int64_t c = 0; c < columns; c += 2 * kLanes) {
      const int64_t at = column + c;
      const TileParams tile{.x = p.x,
                            .x_stride = p.x_stride,
                            .panel = p.weights->panel(i) + c,
                            .inputs = p.weights->inputs(),
                            .bias = e.bias != nullptr ? e.bias + at : nullptr,
                            .residual = e.residual != nullptr ? e.residual + at : nullptr,
                            .residual_stride = e.residual_stride,
                            .out = p.out + at,
                            .out_stride = p.out_stride,
                            .columns = std::min(2 * kLanes, columns - c)};
      if (tile.columns > kLanes) {
        AllRows<2>(tile, p.rows);
      } else {
        AllRows<1>(tile, p.rows);
      }
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
