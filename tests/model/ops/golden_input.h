#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/ops/box.h"
#include "tests/oracle/golden.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {

// An input of an operator's golden case: offset + scale * unit(seed, "input." + name).
inline std::vector<float> GoldenInput(const oracle::Golden& golden, const std::string& name) {
  const nlohmann::json& facts = golden.facts["case"];
  const nlohmann::json& spec = facts["inputs"][name];
  int64_t count = 1;
  for (const auto& side : spec["shape"]) count *= side.get<int64_t>();
  std::vector<double> values = oracle::Unit(facts["seed"].get<int64_t>(), "input." + name, count);
  for (double& value : values) {
    value = spec["offset"].get<double>() + spec["scale"].get<double>() * value;
  }
  return {values.begin(), values.end()};
}

// Boxes from the inputs "corner" and "extent".
inline std::vector<Box> GoldenBoxes(const oracle::Golden& golden) {
  const std::vector<float> corner = GoldenInput(golden, "corner");
  const std::vector<float> extent = GoldenInput(golden, "extent");
  std::vector<Box> boxes;
  for (size_t i = 0; i < corner.size(); i += 2) {
    boxes.push_back(
        {corner[i], corner[i + 1], corner[i] + extent[i], corner[i + 1] + extent[i + 1]});
  }
  return boxes;
}

inline std::vector<float> Coordinates(const std::vector<Box>& boxes) {
  std::vector<float> values;
  for (const Box& box : boxes) {
    values.insert(values.end(), {box.left, box.top, box.right, box.bottom});
  }
  return values;
}

}  // namespace spatialmamba
