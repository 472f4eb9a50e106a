#include <algorithm>

#include "model/ops/resize_argmax_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/resize_argmax_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

constexpr int64_t kBlock = ResizeArgmaxParams::kBlock;
constexpr int64_t kTaps = TwoStepSample::kTaps;
using DI = hn::RebindToSigned<D>;
using VI = hn::Vec<DI>;

// Pixels [first, last) of the labels along both axes, and the tokens that they read.
struct Block {
  int64_t first_row;
  int64_t last_row;
  int64_t first_column;
  int64_t last_column;
  int64_t top;
  int64_t bottom;  // the last that is read, as the next
  int64_t left;
  int64_t right;
};

Block BlockAt(const ResizeArgmaxParams& p, int64_t row, int64_t column) {
  const int64_t last_row = std::min(row + kBlock, p.out_height);
  const int64_t last_column = std::min(column + kBlock, p.out_width);
  return {.first_row = row,
          .last_row = last_row,
          .first_column = column,
          .last_column = last_column,
          .top = p.rows[row].first,
          .bottom = std::min(p.rows[last_row - 1].first + p.row_taps, p.height) - 1,
          .left = p.columns[column].first,
          .right = std::min(p.columns[last_column - 1].first + p.column_taps, p.width) - 1};
}

const float* TokenAt(const ResizeArgmaxParams& p, int64_t row, int64_t column) {
  return p.logits + (row * p.width + column) * p.stride;
}

// By how much each class at most exceeds the reference in a token of the block. Returns the largest
// magnitude of a logit.
float FindLeads(const ResizeArgmaxParams& p, const Block& block, int64_t reference, float* leads) {
  const D d;
  std::fill_n(leads, p.classes, -HUGE_VALF);
  V magnitude = hn::Zero(d);
  for (int64_t y = block.top; y <= block.bottom; ++y) {
    for (int64_t x = block.left; x <= block.right; ++x) {
      const float* token = TokenAt(p, y, x);
      const V own = hn::Set(d, token[reference]);
      for (int64_t i = 0; i < p.classes; i += kLanes) {
        // The last vector begins earlier rather than to end beyond: a maximum may see a class
        // twice.
        const int64_t c = std::max<int64_t>(std::min(i, p.classes - kLanes), 0);
        const int64_t left = p.classes - c;
        const V logit = LoadUpTo(token + c, left);
        magnitude = hn::Max(magnitude, hn::Abs(logit));
        StoreUpTo(hn::Max(LoadUpTo(leads + c, left), hn::Sub(logit, own)), leads + c, left);
      }
    }
  }
  return hn::GetLane(hn::MaxOfLanes(d, magnitude));
}

// The classes, by rising index, that may win somewhere in the block.
int64_t FindCandidates(const ResizeArgmaxParams& p, const Block& block,
                       const ResizeArgmaxScratch& scratch) {
  const float* centre = TokenAt(p, (block.top + block.bottom) / 2, (block.left + block.right) / 2);
  const int64_t reference = std::max_element(centre, centre + p.classes) - centre;
  const float magnitude = FindLeads(p, block, reference, scratch.leads);
  // Interpolating takes eight roundings, each at most 6e-8 of the largest logit, for both classes:
  // a class so little behind is not ruled out.
  const float slack = -4e-6F * magnitude;
  int64_t count = 0;
  for (int64_t c = 0; c < p.classes; ++c) {
    scratch.candidates[count] = static_cast<int32_t>(c);
    count += scratch.leads[c] >= slack ? 1 : 0;
  }
  return count;
}

// Interpolation along x of one class, for the columns of a block; those beyond the edge repeat the
// last.
class ColumnTaps {
 public:
  ColumnTaps(const ResizeArgmaxParams& p, const Block& block) : taps_(p.column_taps) {
    for (int64_t x = 0; x < kBlock; ++x) {
      const TwoStepSample& sample =
          p.columns[std::min(block.first_column + x, block.last_column - 1)];
      for (int64_t j = 0; j < taps_; ++j) {
        weights_[j][x] = sample.weights[static_cast<size_t>(j)];
        offsets_[j][x] = static_cast<int32_t>(std::min(sample.first + j, p.width - 1) * p.stride);
      }
    }
  }

  // row: the class's logit in the row's first token; out: [kBlock].
  void Apply(const float* row, float* out) const {
    const D d;
    const DI di;
    for (int64_t x = 0; x < kBlock; x += kLanes) {
      V sum = hn::Zero(d);
      for (int64_t j = 0; j < taps_; ++j) {
        const V logit = hn::GatherIndex(d, row, hn::Load(di, offsets_[j] + x));
        sum = hn::MulAdd(logit, hn::Load(d, weights_[j] + x), sum);
      }
      hn::Store(sum, d, out + x);
    }
  }

 private:
  int64_t taps_;
  HWY_ALIGN float weights_[kTaps][kBlock];
  HWY_ALIGN int32_t offsets_[kTaps][kBlock];
};

// The best logit of each pixel of a block so far, and its class.
struct Best {
  HWY_ALIGN float logits[kBlock][kBlock];
  HWY_ALIGN int32_t classes[kBlock][kBlock];
};

// Takes one class into account. Rows of tokens, interpolated along x, are kept while rows of pixels
// read them.
void Compete(const ResizeArgmaxParams& p, const Block& block, const ColumnTaps& columns,
             int32_t candidate, Best& best) {
  const D d;
  const DI di;
  HWY_ALIGN float across[kTaps][kBlock];
  int64_t held[kTaps] = {-1, -1, -1, -1};
  for (int64_t y = block.first_row; y < block.last_row; ++y) {
    const TwoStepSample& sample = p.rows[y];
    for (int64_t j = 0; j < p.row_taps; ++j) {
      const int64_t row = std::min(sample.first + j, p.height - 1);
      if (held[row % kTaps] == row) continue;
      held[row % kTaps] = row;
      columns.Apply(TokenAt(p, row, 0) + candidate, across[row % kTaps]);
    }
    float* logits = best.logits[y - block.first_row];
    int32_t* classes = best.classes[y - block.first_row];
    for (int64_t x = 0; x < kBlock; x += kLanes) {
      V sum = hn::Zero(d);
      for (int64_t j = 0; j < p.row_taps; ++j) {
        const int64_t row = std::min(sample.first + j, p.height - 1);
        sum = hn::MulAdd(hn::Load(d, across[row % kTaps] + x),
                         hn::Set(d, sample.weights[static_cast<size_t>(j)]), sum);
      }
      const V leader = hn::Load(d, logits + x);
      const auto wins = hn::Gt(sum, leader);
      hn::Store(hn::IfThenElse(wins, sum, leader), d, logits + x);
      const VI own = hn::Set(di, candidate);
      hn::Store(hn::IfThenElse(hn::RebindMask(di, wins), own, hn::Load(di, classes + x)), di,
                classes + x);
    }
  }
}

void ResizeArgmaxBlock(const ResizeArgmaxParams& p, int64_t first_row, int64_t first_column,
                       const ResizeArgmaxScratch& scratch) {
  const Block block = BlockAt(p, first_row, first_column);
  const int64_t count = FindCandidates(p, block, scratch);
  const int64_t width = block.last_column - block.first_column;
  if (count == 1) {
    const int32_t winner = scratch.candidates[0];
    for (int64_t y = block.first_row; y < block.last_row; ++y) {
      std::fill_n(p.labels + y * p.out_width + block.first_column, width,
                  static_cast<uint16_t>(winner));
    }
    scratch.class_pixels[winner] += width * (block.last_row - block.first_row);
    return;
  }
  const ColumnTaps columns(p, block);
  Best best;
  std::fill_n(best.logits[0], kBlock * kBlock, -HUGE_VALF);
  for (int64_t i = 0; i < count; ++i) Compete(p, block, columns, scratch.candidates[i], best);
  for (int64_t y = block.first_row; y < block.last_row; ++y) {
    uint16_t* labels = p.labels + y * p.out_width + block.first_column;
    for (int64_t x = 0; x < width; ++x) {
      const int32_t winner = best.classes[y - block.first_row][x];
      labels[x] = static_cast<uint16_t>(winner);
      ++scratch.class_pixels[winner];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(ResizeArgmaxBlock);

void ResizeArgmaxBlockCpu(const ResizeArgmaxParams& params, int64_t first_row, int64_t first_column,
                          const ResizeArgmaxScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(ResizeArgmaxBlock)(params, first_row, first_column, scratch);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
