#include "model/ops/state_fusion_params.h"

#include <algorithm>
#include <utility>

#include "model/ops/state_fusion.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/state_fusion_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// The taps reach five pixels far, to seven different rows.
constexpr int64_t kReach = 5;
constexpr int64_t kRingRows = 2 * kReach + 1;
constexpr int64_t kReached = 7;

constexpr int64_t ReachedRow(int64_t offset) {
  return offset == 0 ? 3 : offset < 0 ? (offset + 5) / 2 : (offset + 7) / 2;
}
static_assert(ReachedRow(-5) == 0 && ReachedRow(-3) == 1 && ReachedRow(-1) == 2 &&
              ReachedRow(1) == 4 && ReachedRow(3) == 5 && ReachedRow(5) == 6);

// Columns worked on together, and how many channels: what is read of eleven rows then stays in L1.
constexpr int64_t kColumns = 48;
static_assert(kRingRows * (kColumns + 2 * kReach) * kLanes <= kFusionScratchFloats);

// kLanes channels from `channel` on, of columns [first, last) of the rows of a part. Rows of h,
// with the edge pixels repeated on both sides, stay in a ring of eleven: h itself has its pixels so
// far apart that they would displace each other in L1.
class Observation {
 public:
  Observation(const StateFusionParams& p, int64_t channel, int64_t first, int64_t last, float* ring)
      : p_(p),
        channel_(channel),
        left_(p.channels - channel),
        first_(first),
        last_(last),
        padded_((last - first + 2 * kReach) * kLanes),
        ring_(ring) {
    for (int64_t k = 0; k < kFusionTaps; ++k) {
      taps_[k] = LoadUpTo(p.taps + k * p.channels + channel, left_);
    }
  }

  void Rows(int64_t first_row, int64_t last_row) {
    for (int64_t y = std::max<int64_t>(first_row - kReach, 0);
         y < std::min(first_row + kReach, p_.height); ++y) {
      Fill(y);
    }
    for (int64_t row = first_row; row < last_row; ++row) {
      if (row + kReach < p_.height) Fill(row + kReach);
      Row(row);
    }
  }

 private:
  float* RingRow(int64_t y) { return ring_ + y % kRingRows * padded_; }

  void Fill(int64_t y) {
    const float* h = p_.h + y * p_.width * p_.h_stride + channel_;
    float* to = RingRow(y);
    for (int64_t column = first_ - kReach; column < last_ + kReach; ++column, to += kLanes) {
      const int64_t at = std::clamp<int64_t>(column, 0, p_.width - 1);
      hn::Store(LoadUpTo(h + at * p_.h_stride, left_), D(), to);
    }
  }

  void Row(int64_t row) {
    const float* rows[kReached];
    for (const int64_t offset : {-5, -3, -1, 0, 1, 3, 5}) {
      rows[ReachedRow(offset)] = RingRow(std::clamp<int64_t>(row + offset, 0, p_.height - 1));
    }
    const V skip = LoadUpTo(p_.skip + channel_, left_);
    int64_t column = first_;
    for (; column + 4 <= last_; column += 4) Pixels<4>(rows, row, column, skip);
    for (; column < last_; ++column) Pixels<1>(rows, row, column, skip);
  }

  // kCount neighbours at a time: each tap is used as often as it is loaded.
  template <int kCount>
  HWY_INLINE void Pixels(const float* const* rows, int64_t row, int64_t column, V skip) {
    const D d;
    V sums[kCount][2];  // of the even taps and of the odd ones
    for (auto& sum : sums) sum[0] = sum[1] = hn::Zero(d);
    AddTaps<kCount>(rows, (column - first_ + kReach) * kLanes, sums,
                    std::make_index_sequence<kFusionTaps>());
    for (int i = 0; i < kCount; ++i) {
      const int64_t token = row * p_.width + column + i;
      const V x = LoadUpTo(p_.x + token * p_.x_stride + channel_, left_);
      const V c = hn::Set(d, p_.c[token * p_.c_stride]);
      StoreUpTo(hn::MulAdd(hn::Add(sums[i][0], sums[i][1]), c, hn::Mul(skip, x)),
                p_.out + token * p_.out_stride + channel_, left_);
    }
  }

  template <int kCount, size_t... k>
  HWY_INLINE void AddTaps(const float* const* rows, int64_t at, V (&sums)[kCount][2],
                          std::index_sequence<k...>) {
    (AddTap<kCount, k>(rows, at, sums), ...);
  }

  template <int kCount, size_t k>
  HWY_INLINE void AddTap(const float* const* rows, int64_t at, V (&sums)[kCount][2]) {
    constexpr FusionOffset kOffset = kFusionOffsets[k];
    const float* h = rows[ReachedRow(kOffset.row)] + at + kOffset.column * kLanes;
    for (int i = 0; i < kCount; ++i) {
      sums[i][k % 2] = hn::MulAdd(hn::Load(D(), h + i * kLanes), taps_[k], sums[i][k % 2]);
    }
  }

  const StateFusionParams& p_;
  const int64_t channel_;
  const int64_t left_;
  const int64_t first_;
  const int64_t last_;
  const int64_t padded_;  // of a row of the ring, in floats
  float* const ring_;
  V taps_[kFusionTaps];
};

void Observe(const StateFusionParams& p, const FusionPart& part, float* scratch) {
  for (int64_t channel = part.first_channel; channel < part.last_channel; channel += kLanes) {
    for (int64_t first = 0; first < p.width; first += kColumns) {
      Observation(p, channel, first, std::min(p.width, first + kColumns), scratch)
          .Rows(part.first_row, part.last_row);
    }
  }
}

void NormaliseAndGate(const StateFusionParams& p, int64_t first_row, int64_t last_row) {
  for (int64_t token = first_row * p.width; token < last_row * p.width; ++token) {
    float* out = p.out + token * p.out_stride;
    const float* z = p.z + token * p.z_stride;
    const Moments moments = MomentsOf(out, p.channels, p.norm.epsilon);
    ForVectors(p.channels, [&](int64_t c, auto vector) HWY_ATTR {
      const V y = Normalised(vector.Load(out + c), moments, vector.Load(p.norm.gain + c),
                             vector.Load(p.norm.bias + c));
      vector.Store(hn::Mul(y, Silu(vector.Load(z + c))), out + c);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(Observe);
HWY_EXPORT(NormaliseAndGate);

void ObserveCpu(const StateFusionParams& params, const FusionPart& part, float* scratch) {
  HWY_DYNAMIC_DISPATCH(Observe)(params, part, scratch);
}

void NormaliseAndGateCpu(const StateFusionParams& params, int64_t first_row, int64_t last_row) {
  HWY_DYNAMIC_DISPATCH(NormaliseAndGate)(params, first_row, last_row);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
