#include "model/ops/instruction_set.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/ops/instruction_set.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba {
namespace HWY_NAMESPACE {

int64_t CompiledFor() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace spatialmamba
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba {
namespace {

HWY_EXPORT(CompiledFor);

// Whether a test has forbidden it.
std::atomic<bool> without_bf16 = false;

bool HasAvx512Bf16() {
#if defined(__x86_64__)
  static const bool has =
      (hwy::SupportedTargets() & HWY_AVX3) != 0 && __builtin_cpu_supports("avx512bf16") != 0;
  return has;
#else
  return false;
#endif
}

// Bits of a set in Highway's masks. A bit of zero: every machine has it.
int64_t TargetOf(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512Bf16:
    case InstructionSet::kAvx512:
      return HWY_AVX3;
    case InstructionSet::kAvx2:
      return HWY_AVX2;
    case InstructionSet::kPlain:
      return 0;
  }
  return 0;
}

}  // namespace

std::string_view Name(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPlain:
      return "plain";
    case InstructionSet::kAvx2:
      return "AVX2";
    case InstructionSet::kAvx512:
      return "AVX-512";
    case InstructionSet::kAvx512Bf16:
      return "AVX-512 BF16";
  }
  return "";
}

std::vector<InstructionSet> AvailableInstructionSets() {
  std::vector<InstructionSet> sets;
  for (const InstructionSet set : {InstructionSet::kAvx512Bf16, InstructionSet::kAvx512,
                                   InstructionSet::kAvx2, InstructionSet::kPlain}) {
    if (set == InstructionSet::kAvx512Bf16 && !HasAvx512Bf16()) continue;
    const int64_t target = TargetOf(set);
    if (target == 0 || (hwy::SupportedTargets() & target) != 0) sets.push_back(set);
  }
  return sets;
}

InstructionSet CurrentInstructionSet() {
  hwy::ChosenTarget& chosen = hwy::GetChosenTarget();
  if (!chosen.IsInitialized()) chosen.Update(hwy::SupportedTargets());
  const int64_t target = HWY_DYNAMIC_DISPATCH(CompiledFor)();
  if (target == HWY_AVX3) {
    return UsesAvx512Bf16() ? InstructionSet::kAvx512Bf16 : InstructionSet::kAvx512;
  }
  return target == HWY_AVX2 ? InstructionSet::kAvx2 : InstructionSet::kPlain;
}

bool UsesAvx512Bf16() { return HasAvx512Bf16() && !without_bf16.load(std::memory_order_relaxed); }

void ForceInstructionSet(std::optional<InstructionSet> set) {
  if (!set) {
    without_bf16 = false;
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return;
  }
  const std::vector<InstructionSet> available = AvailableInstructionSets();
  if (std::find(available.begin(), available.end(), *set) == available.end()) {
    throw std::invalid_argument("this processor has no " + std::string(Name(*set)));
  }
  without_bf16 = *set != InstructionSet::kAvx512Bf16;
  hwy::GetChosenTarget().Update(TargetOf(*set));
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
