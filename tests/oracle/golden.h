#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace spatialmamba::oracle {

struct GoldenTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// The tensors of a safetensors file that the oracle wrote (float32, uint8, int32), widened to
// float.
std::map<std::string, GoldenTensor> ReadTensors(const std::filesystem::path& file);

// One golden case: NAME.json and NAME.safetensors of tests/oracle/golden. README.md there says what
// the fields mean.
struct Golden {
  nlohmann::json facts;  // case, expected, samples
  std::map<std::string, GoldenTensor> tensors;
};
Golden ReadGolden(const std::string& name);

// The largest difference between `actual` (all of it, row-major) and what the case keeps of it
// under `name`: every stride-th value if it is thinned. Infinity if the sizes do not fit.
double LargestError(const Golden& golden, const std::string& name,
                    const std::vector<float>& actual);

// The root of the mean square of those differences, as a share of the root of the mean square of
// the case's values. Infinity if the sizes do not fit.
double RelativeError(const Golden& golden, const std::string& name,
                     const std::vector<float>& actual);

}  // namespace spatialmamba::oracle
