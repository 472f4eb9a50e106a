#include "tests/gpu/on_gpu.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "tests/oracle/synthetic.h"

namespace spatialmamba::gpu {
namespace {

std::string TryGpu() {
  try {
    CudaStream stream;
    DeviceBuffer memory(256);
    ZeroDevice(memory.data(), memory.bytes(), stream.get());
    Synchronize(stream.get());
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

float FromBfloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

template <typename T, typename Convert>
void AppendRow(const char* row, int64_t channels, Convert convert, std::vector<float>& values) {
  const T* typed = reinterpret_cast<const T*>(row);
  std::transform(typed, typed + channels, std::back_inserter(values), convert);
}

}  // namespace

const std::string& WhyNoGpu() {
  static const std::string why = TryGpu();
  return why;
}

const char* Name(DeviceType type) { return type == DeviceType::kFloat32 ? "fp32" : "bf16"; }

BoundTensors Synthetic(const std::vector<ExpectedTensor>& list, int64_t seed) {
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : list) {
    if (!tensor.optional) tensors[tensor.key] = oracle::Tensor(seed, tensor.key, tensor.shape);
  }
  return tensors;
}

std::vector<float> Download(const DeviceMap& map, int64_t rows, CUstream_st* stream) {
  const auto row_bytes = static_cast<size_t>(map.stride * DeviceBytes(map.type));
  std::vector<char> bytes(static_cast<size_t>(rows) * row_bytes);
  CopyToHost(bytes.data(), map.data, bytes.size(), stream);
  Synchronize(stream);
  std::vector<float> values;
  values.reserve(static_cast<size_t>(rows * map.channels));
  for (int64_t i = 0; i < rows; ++i) {
    const char* row = &bytes[static_cast<size_t>(i) * row_bytes];
    if (map.type == DeviceType::kFloat32) {
      AppendRow<float>(
          row, map.channels, [](float x) { return x; }, values);
    } else {
      AppendRow<uint16_t>(row, map.channels, FromBfloat16, values);
    }
  }
  return values;
}

void Poison(void* memory, size_t bytes, CUstream_st* stream) {
  static const std::vector<uint8_t> nans(size_t{16} << 20, 0xFF);
  for (size_t done = 0; done < bytes; done += nans.size()) {
    CopyToDevice(static_cast<char*>(memory) + done, nans.data(),
                 std::min(nans.size(), bytes - done), stream);
  }
}

double Largest(const std::vector<float>& values) {
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(double{value}));
  return largest;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - double{b[i]});
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

NetworkRuns::NetworkRuns(const DeviceCapacity& capacity, size_t workspace_bytes)
    : geometry_(capacity), images_(static_cast<size_t>(capacity.tokens[0]) * 3 * sizeof(float)) {
  arena_.Reserve(workspace_bytes);
  Poison(arena_.TakeBytes(arena_.bytes()), arena_.bytes(), stream());
  arena_.Reset();
}

void NetworkRuns::Load(const Batch& batch) {
  const size_t bytes = arena_.bytes() - kept_;
  arena_.Rewind(kept_);
  Poison(arena_.TakeBytes(bytes), bytes, stream());
  arena_.Rewind(kept_);
  Poison(images_.data(), images_.bytes(), stream());
  geometry_.Fill(batch.spans, stream());
  CopyToDevice(images_.data(), batch.pixels.data(), batch.pixels.size() * sizeof(float), stream());
}

void NetworkRuns::Run(How how) {
  if (how == How::kLaunched) return Forward();
  if (graph_ == nullptr) {
    BeginCapture(stream());
    Forward();
    graph_ = EndCapture(stream());
  }
  LaunchGraph(graph_, stream());
}

}  // namespace spatialmamba::gpu
