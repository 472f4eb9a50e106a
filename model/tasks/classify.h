#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spatialmamba {

struct ClassScore {
  int64_t index = 0;
  float probability = 0;  // softmax over all classes
  float logit = 0;
};

// The `count` most probable classes (all, if there are fewer), by falling logit, then by index.
std::vector<ClassScore> TopClasses(std::span<const float> logits, int64_t count);

}  // namespace spatialmamba
