#include "model/ops/scan_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/scan_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// All tokens for kVectors vectors of channels from c on. Channels lie along the lanes and time is
// the loop, so that the recurrence is one multiply-add a token and several independent vectors hide
// its latency. kWhole: no vector reaches beyond the last channel.
template <int kVectors, bool kWhole>
void ScanVectors(const ScanParams& p, int64_t c, int64_t last) {
  const D d;
  const auto load = [](const float* from, int64_t left)
                        HWY_ATTR { return kWhole ? hn::LoadU(D(), from) : LoadUpTo(from, left); };
  V decay[kVectors];
  V bias[kVectors];
  V state[kVectors];
  int64_t left[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = c + v * kLanes;
    left[v] = last - at;
    decay[v] = LoadUpTo(p.decay + at, left[v]);
    bias[v] = LoadUpTo(p.step_bias + at, left[v]);
    state[v] = p.initial != nullptr ? LoadUpTo(p.initial + at, left[v]) : hn::Zero(d);
  }
  for (int64_t t = 0; t < p.tokens; ++t) {
    const float* rbc = p.rbc + t * p.rbc_stride;
    V step[kVectors];
    for (int v = 0; v < kVectors; ++v) step[v] = bias[v];
    for (int64_t r = 0; r < p.rank; ++r) {
      const V value = hn::Set(d, rbc[r]);
      const float* weight = p.step_weight + r * p.channels + c;
      for (int v = 0; v < kVectors; ++v) {
        step[v] = hn::MulAdd(value, load(weight + v * kLanes, left[v]), step[v]);
      }
    }
    const V b = hn::Set(d, rbc[p.rank]);
    const float* x = p.x + t * p.x_stride + c;
    float* h = p.h + t * p.h_stride + c;
    for (int v = 0; v < kVectors; ++v) {
      const V dt = Softplus(step[v]);
      const V gate = ExpNonPositive(hn::Mul(dt, decay[v]));
      const V drive = hn::Mul(hn::Mul(dt, b), load(x + v * kLanes, left[v]));
      state[v] = hn::MulAdd(gate, state[v], drive);
      if (kWhole) {
        hn::StoreU(state[v], d, h + v * kLanes);
      } else {
        StoreUpTo(state[v], h + v * kLanes, left[v]);
      }
    }
  }
}

void ScanChannels(const ScanParams& p, int64_t first, int64_t last) {
  int64_t c = first;
  for (; c + 4 * kLanes <= last; c += 4 * kLanes) ScanVectors<4, true>(p, c, last);
  for (; c < last; c += kLanes) ScanVectors<1, false>(p, c, last);
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(ScanChannels);

void ScanCpu(const ScanParams& params, int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(ScanChannels)(params, first, last);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
