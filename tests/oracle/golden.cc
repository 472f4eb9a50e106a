#include "tests/oracle/golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>

namespace spatialmamba::oracle {
namespace {

template <typename T>
std::vector<float> Widened(const char* bytes, size_t size) {
  std::vector<T> values(size / sizeof(T));
  if (values.empty()) return {};
  std::memcpy(values.data(), bytes, values.size() * sizeof(T));
  std::vector<float> widened;
  for (const T value : values) widened.push_back(static_cast<float>(value));
  return widened;
}

}  // namespace

std::map<std::string, GoldenTensor> ReadTensors(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.size() < 8)
    throw std::runtime_error(path.string() + ": missing or no safetensors file");
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, header_size));
  std::map<std::string, GoldenTensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto begin = entry["data_offsets"][0].get<size_t>();
    const size_t size = entry["data_offsets"][1].get<size_t>() - begin;
    const char* data = bytes.data() + 8 + header_size + begin;
    GoldenTensor tensor{entry["shape"].get<std::vector<int64_t>>(), {}};
    const std::string dtype = entry["dtype"];
    if (dtype == "F32") {
      tensor.values = Widened<float>(data, size);
    } else if (dtype == "F64") {
      tensor.values = Widened<double>(data, size);
    } else if (dtype == "U8" || dtype == "BOOL") {
      tensor.values = Widened<uint8_t>(data, size);
    } else if (dtype == "I32") {
      tensor.values = Widened<int32_t>(data, size);
    } else if (dtype == "I64") {
      tensor.values = Widened<int64_t>(data, size);
    } else {
      throw std::runtime_error(path.string() + ": dtype " + dtype);
    }
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

Golden ReadGolden(const std::string& name) {
  const std::filesystem::path folder =
      std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / "tests/oracle/golden";
  std::ifstream facts(folder / (name + ".json"));
  return {nlohmann::json::parse(facts), ReadTensors(folder / (name + ".safetensors"))};
}

namespace {

// actual - expected, value by value of those that the case keeps; nothing if the sizes do not fit.
std::optional<std::vector<double>> Errors(const Golden& golden, const std::string& name,
                                          const std::vector<float>& actual) {
  const std::vector<float>& expected = golden.tensors.at(name).values;
  size_t stride = 1;
  const nlohmann::json& samples = golden.facts["samples"];
  if (samples.contains(name)) stride = samples[name]["stride"].get<size_t>();
  if ((actual.size() + stride - 1) / stride != expected.size()) return std::nullopt;
  std::vector<double> errors;
  for (size_t i = 0; i < expected.size(); ++i) {
    errors.push_back(double{actual[i * stride]} - double{expected[i]});
  }
  return errors;
}

}  // namespace

double LargestError(const Golden& golden, const std::string& name,
                    const std::vector<float>& actual) {
  const std::optional<std::vector<double>> errors = Errors(golden, name, actual);
  if (!errors) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (const double error : *errors) {
    if (std::isnan(error)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(error));
  }
  return largest;
}

double RelativeError(const Golden& golden, const std::string& name,
                     const std::vector<float>& actual) {
  const std::optional<std::vector<double>> errors = Errors(golden, name, actual);
  if (!errors) return std::numeric_limits<double>::infinity();
  const std::vector<float>& expected = golden.tensors.at(name).values;
  const double difference =
      std::inner_product(errors->begin(), errors->end(), errors->begin(), 0.0);
  return std::sqrt(difference /
                   std::inner_product(expected.begin(), expected.end(), expected.begin(), 0.0));
}

}  // namespace spatialmamba::oracle
