#include "model/ops/instruction_set.h"

#include <algorithm>
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

// Bits of a set in Highway's masks. A bit of zero: every machine has it.
int64_t TargetOf(InstructionSet set) {
  switch (set) {
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
  }
  return "";
}

std::vector<InstructionSet> AvailableInstructionSets() {
  std::vector<InstructionSet> sets;
  for (const InstructionSet set :
       {InstructionSet::kAvx512, InstructionSet::kAvx2, InstructionSet::kPlain}) {
    const int64_t target = TargetOf(set);
    if (target == 0 || (hwy::SupportedTargets() & target) != 0) sets.push_back(set);
  }
  return sets;
}

InstructionSet CurrentInstructionSet() {
  hwy::ChosenTarget& chosen = hwy::GetChosenTarget();
  if (!chosen.IsInitialized()) chosen.Update(hwy::SupportedTargets());
  const int64_t target = HWY_DYNAMIC_DISPATCH(CompiledFor)();
  if (target == HWY_AVX3) return InstructionSet::kAvx512;
  return target == HWY_AVX2 ? InstructionSet::kAvx2 : InstructionSet::kPlain;
}

void ForceInstructionSet(std::optional<InstructionSet> set) {
  if (!set) {
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return;
  }
  const std::vector<InstructionSet> available = AvailableInstructionSets();
  if (std::find(available.begin(), available.end(), *set) == available.end()) {
    throw std::invalid_argument("this processor has no " + std::string(Name(*set)));
  }
  hwy::GetChosenTarget().Update(TargetOf(*set));
}

}  // namespace spatialmamba
#endif  // HWY_ONCE
