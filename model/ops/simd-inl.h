// Element-wise mathematics of the CPU kernels, once for every instruction set. Included inside
// foreach_target.

#if defined(SPATIALMAMBA_OPS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_OPS_SIMD_INL_H_
#undef SPATIALMAMBA_OPS_SIMD_INL_H_
#else
#define SPATIALMAMBA_OPS_SIMD_INL_H_
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "model/ops/epilogue.h"
#include "model/ops/norm.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
inline constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));

// The first `count` lanes from memory, zero in the others; all if count >= kLanes. Reads nothing
// past them.
HWY_INLINE V LoadUpTo(const float* p, int64_t count) {
  const D d;
  if (HWY_LIKELY(count >= kLanes)) return hn::LoadU(d, p);
  HWY_ALIGN float lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(count) * sizeof(float));
  return hn::Load(d, lanes);
}

HWY_INLINE void StoreUpTo(V v, float* p, int64_t count) {
  const D d;
  if (HWY_LIKELY(count >= kLanes)) {
    hn::StoreU(v, d, p);
    return;
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, d, lanes);
  std::memcpy(p, lanes, static_cast<size_t>(count) * sizeof(float));
}

// A vector of a row: all of its lanes, or the first few at the row's end.
struct WholeVector {
  HWY_INLINE V Load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void Store(V v, float* p) const { hn::StoreU(v, D(), p); }
};
struct PartialVector {
  int64_t count;
  HWY_INLINE V Load(const float* p) const { return LoadUpTo(p, count); }
  HWY_INLINE void Store(V v, float* p) const { StoreUpTo(v, p, count); }
};

// body(c, vector) for every vector of a row, c being its first channel.
template <typename Body>
HWY_INLINE void ForVectors(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) body(c, WholeVector());
  if (c < channels) body(c, PartialVector{channels - c});
}

// exp for x <= 0: 2^n * p(r), x = n ln2 + r, |r| <= ln2 / 2, p the Taylor polynomial of degree 7
// (error 2e-8 on that interval). Below -87 the result is flushed to exp(-87), which is 1e-38.
HWY_INLINE V ExpNonPositive(V x) {
  const D d;
  const hn::RebindToSigned<D> di;
  x = hn::Max(x, hn::Set(d, -87.0F));
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504F)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693145752F),
                      x);  // ln2 in two parts: the first has few bits, n * it is exact
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6F), r);
  V p = hn::Set(d, 1.0F / 5040);
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 720));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 120));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 24));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 6));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::Mul(p, hn::BitCast(d, exponent));
}

// x / (1 + exp(-x)), from exp(-|x|) so that nothing overflows.
HWY_INLINE V Silu(V x) {
  const D d;
  const V one = hn::Set(d, 1.0F);
  const V e = ExpNonPositive(hn::Neg(hn::Abs(x)));
  const V numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(x, e), x);
  return hn::Div(numerator, hn::Add(one, e));
}

// log(1 + exp(x)) = max(x, 0) + log(1 + e), e = exp(-|x|) in [0, 1]. log(1 + e) = 2 artanh(s), s =
// e / (2 + e) <= 1/3, by its power series up to s^15 (error 1e-9).
HWY_INLINE V Softplus(V x) {
  const D d;
  const V e = ExpNonPositive(hn::Neg(hn::Abs(x)));
  const V s = hn::Div(e, hn::Add(e, hn::Set(d, 2.0F)));
  const V s2 = hn::Mul(s, s);
  V p = hn::Set(d, 2.0F / 15);
  p = hn::MulAdd(p, s2, hn::Set(d, 2.0F / 13));
  p = hn::MulAdd(p, s2, hn::Set(d, 2.0F / 11));
  p = hn::MulAdd(p, s2, hn::Set(d, 2.0F / 9));
  p = hn::MulAdd(p, s2, hn::Set(d, 2.0F / 7));
  p = hn::MulAdd(p, s2, hn::Set(d, 2.0F / 5));
  p = hn::MulAdd(p, s2, hn::Set(d, 2.0F / 3));
  p = hn::MulAdd(p, s2, hn::Set(d, 2.0F));
  return hn::MulAdd(p, s, hn::Max(x, hn::Zero(d)));
}

// x/2 (1 + erf(x / sqrt 2)). erf(t) = t q(t^2) for |t| <= 3.95 and its sign beyond; q is the
// Chebyshev interpolant of degree 15 of erf(t)/t over that range, written in v = 2 t^2 / 3.95^2
// - 1. Error of erf 2.2e-7 in fp32.
HWY_INLINE V Gelu(V x) {
  const D d;
  constexpr float kCoefficients[16] = {
      0.358000755F,   -0.178769454F,   0.133178264F,   -0.108640805F,
      0.090455845F,   -0.0742854476F,  0.0591369867F,  -0.044516094F,
      0.0304146446F,  -0.0203936994F,  0.0153570883F,  -0.00884762872F,
      0.00180339674F, -0.00106942328F, 0.00242486014F, -0.00108474528F};
  const V limit = hn::Set(d, 3.95F);
  const V t = hn::Mul(x, hn::Set(d, 0.707106781F));
  const V v = hn::MulSub(hn::Mul(t, t), hn::Set(d, 0.128184586F), hn::Set(d, 1.0F));
  V q = hn::Set(d, kCoefficients[15]);
  for (int i = 14; i >= 0; --i) q = hn::MulAdd(q, v, hn::Set(d, kCoefficients[i]));
  const V sign = hn::CopySignToAbs(hn::Set(d, 1.0F), x);
  const V erf = hn::IfThenElse(hn::Lt(hn::Abs(t), limit), hn::Mul(t, q), sign);
  const V half = hn::Mul(x, hn::Set(d, 0.5F));
  return hn::MulAdd(half, erf, half);
}

// Mean and 1 / sqrt(variance + epsilon) of `channels` values, the variance from a second pass.
struct Moments {
  float mean;
  float scale;
};

HWY_INLINE Moments MomentsOf(const float* x, int64_t channels, float epsilon) {
  const D d;
  constexpr int kSums = 4;  // independent, or each addition would wait for the one before
  constexpr int64_t kStep = kSums * kLanes;
  const float count = static_cast<float>(channels);
  const int64_t whole = channels / kStep * kStep;
  V sums[kSums];
  for (V& sum : sums) sum = hn::Zero(d);
  for (int64_t c = 0; c < whole; c += kStep) {
    for (int i = 0; i < kSums; ++i) sums[i] = hn::Add(sums[i], hn::LoadU(d, x + c + i * kLanes));
  }
  for (int64_t c = whole; c < channels; c += kLanes) {
    sums[0] = hn::Add(sums[0], LoadUpTo(x + c, channels - c));
  }
  const V sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  const float mean = hn::GetLane(hn::SumOfLanes(d, sum)) / count;
  const V m = hn::Set(d, mean);
  V squares[kSums];
  for (V& square : squares) square = hn::Zero(d);
  for (int64_t c = 0; c < whole; c += kStep) {
    for (int i = 0; i < kSums; ++i) {
      const V centred = hn::Sub(hn::LoadU(d, x + c + i * kLanes), m);
      squares[i] = hn::MulAdd(centred, centred, squares[i]);
    }
  }
  for (int64_t c = whole; c < channels; c += kLanes) {
    const int64_t left = channels - c;
    V centred = hn::Sub(LoadUpTo(x + c, left), m);
    if (left < kLanes) {
      centred = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(left)), centred);
    }
    squares[0] = hn::MulAdd(centred, centred, squares[0]);
  }
  const V square = hn::Add(hn::Add(squares[0], squares[1]), hn::Add(squares[2], squares[3]));
  const float variance = hn::GetLane(hn::SumOfLanes(d, square)) / count;
  return {mean, 1.0F / std::sqrt(variance + epsilon)};
}

// (x - mean) * scale * gain + bias.
HWY_INLINE V Normalised(V x, const Moments& moments, V gain, V bias) {
  const D d;
  const V centred = hn::Mul(hn::Sub(x, hn::Set(d, moments.mean)), hn::Set(d, moments.scale));
  return hn::MulAdd(centred, gain, bias);
}

// LayerNorm of one token; out may be x.
HWY_INLINE void NormaliseToken(const float* x, int64_t channels, const NormWeights& norm,
                               float* out) {
  const Moments moments = MomentsOf(x, channels, norm.epsilon);
  ForVectors(channels, [&](int64_t c, auto vector) HWY_ATTR {
    vector.Store(Normalised(vector.Load(x + c), moments, vector.Load(norm.gain + c),
                            vector.Load(norm.bias + c)),
                 out + c);
  });
}

template <Activation kActivation>
HWY_INLINE V Activate(V x) {
  if constexpr (kActivation == Activation::kRelu) return hn::Max(x, hn::Zero(D()));
  if constexpr (kActivation == Activation::kSilu) return Silu(x);
  if constexpr (kActivation == Activation::kGelu) return Gelu(x);
  return x;
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
