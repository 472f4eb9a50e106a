#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/weights/checkpoint.h"

namespace spatialmamba {

// One tensor that a network needs.
struct ExpectedTensor {
  std::string key;
  std::vector<int64_t> shape;
  bool optional = false;  // may be missing (counters that only training reads)
};

// Compares the list with the checkpoint and returns every expected tensor as row-major fp32, by
// key. Tensors whose key starts with one of `ignored_prefixes` are left out of the comparison.
// Throws one CheckpointError that lists *all* missing, unexpected and wrongly shaped tensors (the
// first 20 of each kind, and how many more).
std::map<std::string, std::vector<float>> Bind(
    const std::vector<ExpectedTensor>& expected, const Checkpoint& checkpoint,
    const std::vector<std::string>& ignored_prefixes = {});

}  // namespace spatialmamba
