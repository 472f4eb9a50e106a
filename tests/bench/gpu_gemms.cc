#include "tests/bench/gpu_gemms.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "model/net/layers.h"
#include "model/ops/cuda_api.h"
#include "model/ops/device_arena.h"
#include "model/ops/gemm_cuda.h"
#include "tests/bench/gpu_device.h"

namespace spatialmamba {
namespace {

// Small numbers, not zeros: a device computes faster with those.
std::vector<uint8_t> RandomBytes(size_t elements, DeviceType type) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(-0.1F, 0.1F);
  std::vector<uint8_t> bytes(elements * static_cast<size_t>(DeviceBytes(type)));
  for (size_t i = 0; i < elements; ++i) {
    const auto bits = std::bit_cast<uint32_t>(uniform(generator));
    if (type == DeviceType::kFloat32) {
      std::copy_n(reinterpret_cast<const uint8_t*>(&bits), 4, &bytes[4 * i]);
    } else {
      const auto half = static_cast<uint16_t>(bits >> 16);
      std::copy_n(reinterpret_cast<const uint8_t*>(&half), 2, &bytes[2 * i]);
    }
  }
  return bytes;
}

// A map filled with one pattern again and again.
class RandomMap {
 public:
  RandomMap(int rows, int channels, DeviceType type)
      : memory_(DeviceArena::Bytes(rows, channels, type)),
        map_{memory_.data(), channels, static_cast<int>(DeviceArena::Stride(channels, type)),
             type} {
    const std::vector<uint8_t> bytes = RandomBytes(size_t{1} << 20, type);
    for (size_t done = 0; done < memory_.bytes(); done += bytes.size()) {
      CopyToDevice(static_cast<char*>(memory_.data()) + done, bytes.data(),
                   std::min(bytes.size(), memory_.bytes() - done), nullptr);
    }
  }
  const DeviceMap& map() const { return map_; }

 private:
  DeviceBuffer memory_;
  DeviceMap map_;
};

struct Operands {
  Operands(const GemmCase& gemm, DeviceType type)
      : x(gemm.rows, gemm.inputs, type),
        weights(gemm.outputs, gemm.inputs, type),
        bias(1, gemm.outputs, DeviceType::kFloat32),
        residual(gemm.rows, gemm.outputs, type),
        out(gemm.rows, gemm.outputs, type) {}

  RandomMap x;
  RandomMap weights;
  RandomMap bias;
  RandomMap residual;
  RandomMap out;
};

void Multiply(const GemmCase& gemm, const Operands& operands, const int* rows,
              CUstream_st* stream) {
  DeviceGemm product;
  product.x = operands.x.map();
  product.weights = operands.weights.map().data;
  product.inputs = gemm.inputs;
  product.outputs = gemm.outputs;
  product.weight_stride = operands.weights.map().stride;
  if (gemm.bias) product.bias = static_cast<const float*>(operands.bias.map().data);
  product.activation = gemm.activation;
  if (gemm.residual) product.residual = operands.residual.map();
  product.out = operands.out.map();
  product.rows = rows;
  product.row_capacity = gemm.rows;
  GemmCuda(product, stream);
}

}  // namespace

std::vector<GemmCase> GemmsOf(const Variant& variant, int images) {
  std::vector<GemmCase> cases;
  for (size_t stage = 0; stage < 4; ++stage) {
    const std::string name = "stage" + std::to_string(stage) + ".";
    const int side = 56 >> stage;
    const int rows = images * side * side;
    const auto dim = static_cast<int>(variant.dims()[stage]);
    const auto blocks = static_cast<int>(variant.depths[stage]);
    cases.push_back({name + "in_proj", rows, dim, 4 * dim, {}, false, false, blocks});
    cases.push_back({name + "x_proj",
                     rows,
                     2 * dim,
                     static_cast<int>(StepRank(dim)) + 2,
                     {},
                     false,
                     false,
                     blocks});
    cases.push_back({name + "out_proj", rows, 2 * dim, dim, {}, false, true, blocks});
    cases.push_back({name + "fc1", rows, dim, 4 * dim, Activation::kGelu, true, false, blocks});
    cases.push_back({name + "fc2", rows, 4 * dim, dim, {}, true, true, blocks});
    if (stage == 3) continue;
    cases.push_back({name + "expand", rows, dim, 8 * dim, Activation::kRelu, true, false, 1});
    cases.push_back({name + "project", rows / 4, 8 * dim, 2 * dim, {}, true, false, 1});
  }
  return cases;
}

double GemmMilliseconds(const GemmCase& gemm, DeviceType type, double seconds) {
  constexpr int kSets = 3;  // so that the operands of one are not found in a cache by chance
  constexpr int kLaunches = 12;
  const CudaStream stream;
  std::vector<Operands> operands;
  for (int i = 0; i < kSets; ++i) operands.emplace_back(gemm, type);
  const DeviceBuffer count(sizeof(int));
  CopyToDevice(count.data(), &gemm.rows, sizeof(int), nullptr);
  const auto launch_all = [&] {
    for (int i = 0; i < kLaunches; ++i) {
      Multiply(gemm, operands[static_cast<size_t>(i % kSets)],
               static_cast<const int*>(count.data()), stream.get());
    }
  };
  launch_all();
  Synchronize(stream.get());
  const Recording recording = Record(stream.get(), launch_all);
  DeviceTimer timer(stream.get());
  std::vector<double> times;
  for (double spent = 0; times.size() < 5 || spent < 1000 * seconds;) {
    timer.Start();
    LaunchGraph(recording.graph, stream.get());
    const double milliseconds = timer.Stop();
    spent += milliseconds;
    times.push_back(milliseconds / kLaunches);
  }
  DestroyGraph(recording.graph);
  std::ranges::sort(times);
  return times[times.size() / 2];
}

}  // namespace spatialmamba
