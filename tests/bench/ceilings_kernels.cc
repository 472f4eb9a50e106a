#include "tests/bench/ceilings_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/ceilings_kernels.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

int64_t MultiplyAdds(int64_t rounds) {
  const D d;
  constexpr int kSums = 12;  // hides the latency, and fits into 16 registers
  V sums[kSums];
  for (V& sum : sums) sum = hn::Zero(d);
  V x = hn::Set(d, 0.5F);
  const V y = hn::Set(d, 1e-3F);
  for (int64_t i = 0; i < rounds; ++i) {
    for (V& sum : sums) sum = hn::MulAdd(sum, x, y);
  }
  V total = hn::Zero(d);
  for (const V& sum : sums) total = hn::Add(total, sum);
  // Never true; the sums have to be computed.
  return hn::GetLane(total) < 0.0F ? 0 : rounds * kSums * kLanes;
}

void Evaluate(const float* x, int64_t count, float* out) {
  const D d;
  for (int64_t i = 0; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const V a = ExpNonPositive(hn::LoadU(d, x + i));
    const V b = ExpNonPositive(hn::LoadU(d, x + i + kLanes));
    hn::StoreU(a, d, out + i);
    hn::StoreU(b, d, out + i + kLanes);
  }
}

float Sum(const float* x, int64_t count) {
  const D d;
  constexpr int kSums = 8;
  V sums[kSums];
  for (V& sum : sums) sum = hn::Zero(d);
  for (int64_t i = 0; i + kSums * kLanes <= count; i += kSums * kLanes) {
    for (int s = 0; s < kSums; ++s) {
      sums[s] = hn::Add(sums[s], hn::LoadU(d, x + i + s * kLanes));
    }
  }
  V total = hn::Zero(d);
  for (const V& sum : sums) total = hn::Add(total, sum);
  return hn::GetLane(hn::SumOfLanes(d, total));
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(MultiplyAdds);
HWY_EXPORT(Evaluate);
HWY_EXPORT(Sum);

int64_t MultiplyAdds(int64_t rounds) { return HWY_DYNAMIC_DISPATCH(MultiplyAdds)(rounds); }
void Evaluate(const float* x, int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(Evaluate)(x, count, out);
}
float Sum(const float* x, int64_t count) { return HWY_DYNAMIC_DISPATCH(Sum)(x, count); }

}  // namespace spatialmamba
#endif  // HWY_ONCE
