#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/ops/context.h"
#include "model/ops/instruction_set.h"
#include "model/ops/view.h"
#include "model/runtime/pool_context.h"
#include "model/runtime/thread_pool.h"

namespace spatialmamba {

// A map with its memory: rows `stride` apart, the gap filled with NaN, so that a kernel which reads
// or writes it shows.
struct Map {
  Map(int64_t count, int64_t width, int64_t gap = 0)
      : values(static_cast<size_t>(count * (width + gap)), std::nanf("")),
        rows(count),
        channels(width),
        stride(width + gap) {}

  static Map Random(uint64_t seed, int64_t count, int64_t width, int64_t gap = 0) {
    Map map(count, width, gap);
    std::mt19937_64 generator(seed);
    std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = 0; c < width; ++c) map.at(r, c) = uniform(generator);
    }
    return map;
  }

  float& at(int64_t r, int64_t c) { return values[static_cast<size_t>(r * stride + c)]; }
  float at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * stride + c)]; }
  View view() { return {values.data(), rows, channels, stride}; }
  ConstView view() const { return {values.data(), rows, channels, stride}; }

  std::vector<float> values;
  int64_t rows;
  int64_t channels;
  int64_t stride;
};

inline std::vector<float> RandomVector(uint64_t seed, int64_t count) {
  return Map::Random(seed, 1, count).values;
}

inline bool SameBits(const Map& a, int64_t row_a, const Map& b, int64_t row_b) {
  return std::memcmp(a.view().row(row_a), b.view().row(row_b),
                     static_cast<size_t>(a.channels) * sizeof(float)) == 0;
}

// Back to back images of those sizes.
inline std::vector<Span> SpansOf(const std::vector<std::pair<int64_t, int64_t>>& sizes) {
  std::vector<Span> spans;
  int64_t offset = 0;
  for (const auto& [height, width] : sizes) {
    spans.push_back({offset, height, width});
    offset += height * width;
  }
  return spans;
}

// The instruction sets of this machine whose fp32 kernels differ: AVX-512 BF16 has those of
// AVX-512.
inline std::vector<InstructionSet> Float32InstructionSets() {
  std::vector<InstructionSet> sets = AvailableInstructionSets();
  std::erase(sets, InstructionSet::kAvx512Bf16);
  return sets;
}

// Runs each case with a given instruction set.
class OnEveryInstructionSet : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { ForceInstructionSet(GetParam()); }
  void TearDown() override { ForceInstructionSet(std::nullopt); }
};

inline std::string SetName(const testing::TestParamInfo<InstructionSet>& info) {
  std::string name(Name(info.param));
  std::erase_if(name, [](char c) { return c == '-' || c == ' '; });
  return name;
}

}  // namespace spatialmamba
