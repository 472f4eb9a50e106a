#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace spatialmamba {

// Which form of the CPU kernels runs. Chosen once from what the processor has. AVX-512 BF16 is
// AVX-512 with another form of the kernels that multiply bf16 numbers.
enum class InstructionSet { kPlain, kAvx2, kAvx512, kAvx512Bf16 };

std::string_view Name(InstructionSet set);  // "plain", "AVX2", "AVX-512", "AVX-512 BF16"

// Those that this machine can run, best first.
std::vector<InstructionSet> AvailableInstructionSets();

// The one in use.
InstructionSet CurrentInstructionSet();

// Whether that is AVX-512 BF16; for the kernels.
bool UsesAvx512Bf16();

// For tests: uses that one from now on, in the whole process; nothing: the best again. Not while
// kernels run. Throws std::invalid_argument if the machine has it not.
void ForceInstructionSet(std::optional<InstructionSet> set);

}  // namespace spatialmamba
