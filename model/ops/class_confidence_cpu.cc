#include <algorithm>

#include "model/ops/class_confidence_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/class_confidence_cpu.cc"
#include "hwy/foreach_target.h"
#include "model/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

// 1 / sum of exp(logit - best): the best class's own term is exp(0).
HWY_INLINE float BestProbability(const float* logits, int64_t classes) {
  const D d;
  const float best = *std::max_element(logits, logits + classes);
  const V top = hn::Set(d, best);
  V sum = hn::Zero(d);
  int64_t c = 0;
  for (; c + kLanes <= classes; c += kLanes) {
    sum = hn::Add(sum, ExpNonPositive(hn::Sub(hn::LoadU(d, logits + c), top)));
  }
  if (c < classes) {
    const auto rest = hn::FirstN(d, static_cast<size_t>(classes - c));
    const V x = hn::IfThenElse(rest, LoadUpTo(logits + c, classes - c), top);
    sum = hn::Add(sum, hn::IfThenElseZero(rest, ExpNonPositive(hn::Sub(x, top))));
  }
  return 1.0F / hn::GetLane(hn::SumOfLanes(d, sum));
}

void Confidences(const ClassConfidenceParams& p, int64_t first, int64_t last) {
  for (int64_t token = first; token < last; ++token) {
    const float probability = BestProbability(p.logits + token * p.stride, p.classes);
    p.confidence[token] = static_cast<uint8_t>(std::min(255.0F * probability + 0.5F, 255.0F));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {

HWY_EXPORT(Confidences);

void ClassConfidenceCpu(const ClassConfidenceParams& params, int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(Confidences)(params, first, last);
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
