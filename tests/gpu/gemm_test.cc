// The matrix product against sums in double precision, at the shapes of the model, and whether a
// row's bits depend on the others.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "model/ops/gemm_cuda.h"
#include "tests/gpu/on_gpu.h"

namespace spatialmamba::gpu {
namespace {

struct Shape {
  int rows;
  int inputs;
  int outputs;
};

float RoundedTo(DeviceType type, float value) {
  if (type == DeviceType::kFloat32) return value;
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000);
}

std::vector<float> Random(uint64_t seed, int64_t count, DeviceType type) {
  std::mt19937_64 generator(seed);
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = RoundedTo(type, uniform(generator));
  return values;
}

// A map in device memory with its rows' gaps full of NaNs.
class OwnedMap {
 public:
  OwnedMap(int64_t rows, int64_t channels, DeviceType type)
      : memory_(DeviceArena::Bytes(rows, channels, type)),
        map_{memory_.data(), static_cast<int>(channels),
             static_cast<int>(DeviceArena::Stride(channels, type)), type} {
    Poison(memory_.data(), memory_.bytes(), nullptr);
  }
  OwnedMap(const std::vector<float>& values, int64_t channels, DeviceType type)
      : OwnedMap(static_cast<int64_t>(values.size()) / channels, channels, type) {
    const auto stride = static_cast<size_t>(map_.stride);
    const auto width = static_cast<size_t>(channels);
    const size_t rows = values.size() / width;
    std::vector<uint32_t> wide(rows * stride, 0xFFFFFFFF);
    for (size_t i = 0; i < values.size(); ++i) {
      wide[i / width * stride + i % width] = std::bit_cast<uint32_t>(values[i]);
    }
    if (type == DeviceType::kFloat32) {
      CopyToDevice(map_.data, wide.data(), wide.size() * 4, nullptr);
    } else {
      std::vector<uint16_t> narrow(wide.size());
      std::ranges::transform(wide, narrow.begin(), [](uint32_t x) { return uint16_t(x >> 16); });
      CopyToDevice(map_.data, narrow.data(), narrow.size() * 2, nullptr);
    }
  }
  const DeviceMap& map() const { return map_; }

 private:
  DeviceBuffer memory_;
  DeviceMap map_;
};

double Activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kNone:
      break;
  }
  return x;
}

struct Problem {
  Problem(const Shape& wanted, DeviceType wanted_type)
      : shape(wanted),
        type(wanted_type),
        x(Random(1, int64_t{shape.rows} * shape.inputs, type)),
        weights(Random(2, int64_t{shape.outputs} * shape.inputs, type)),
        bias(Random(3, shape.outputs, DeviceType::kFloat32)),
        residual(Random(4, int64_t{shape.rows} * shape.outputs, type)) {}

  Shape shape;
  DeviceType type;
  std::vector<float> x;
  std::vector<float> weights;
  std::vector<float> bias;
  std::vector<float> residual;
};

struct Finish {
  Activation activation = Activation::kNone;
  bool residual = false;
  DeviceType out = DeviceType::kFloat32;
};

// The first `rows` rows, in launches sized for `capacity` rows.
std::vector<float> Product(const Problem& problem, int rows, int capacity, const Finish& finish) {
  const auto& [all_rows, inputs, outputs] = problem.shape;
  const OwnedMap x(problem.x, inputs, problem.type);
  const OwnedMap weights(problem.weights, inputs, problem.type);
  const OwnedMap bias(problem.bias, outputs, DeviceType::kFloat32);
  const OwnedMap residual(problem.residual, outputs, problem.type);
  const OwnedMap out(capacity, outputs, finish.out);
  const DeviceBuffer count(sizeof(int));
  CopyToDevice(count.data(), &rows, sizeof(rows), nullptr);
  DeviceGemm gemm;
  gemm.x = x.map();
  gemm.weights = weights.map().data;
  gemm.inputs = inputs;
  gemm.outputs = outputs;
  gemm.weight_stride = weights.map().stride;
  gemm.bias = static_cast<const float*>(bias.map().data);
  gemm.activation = finish.activation;
  if (finish.residual) gemm.residual = residual.map();
  gemm.out = out.map();
  gemm.rows = static_cast<const int*>(count.data());
  gemm.row_capacity = capacity;
  CudaStream stream;
  GemmCuda(gemm, stream.get());
  return Download(out.map(), rows, stream.get());
}

// How far the products are off, as a share of the sum of the magnitudes that they are made of.
double Error(const Problem& problem, const std::vector<float>& out, const Finish& finish) {
  const auto& [rows, inputs, outputs] = problem.shape;
  double worst = 0;
  for (int i = 0; i < rows; ++i) {
    for (int n = 0; n < outputs; ++n) {
      const float* x = &problem.x[static_cast<size_t>(i) * static_cast<size_t>(inputs)];
      const float* w = &problem.weights[static_cast<size_t>(n) * static_cast<size_t>(inputs)];
      double sum = problem.bias[static_cast<size_t>(n)];
      double magnitude = std::abs(sum);
      for (int k = 0; k < inputs; ++k) {
        sum += double{x[k]} * double{w[k]};
        magnitude += std::abs(double{x[k]} * double{w[k]});
      }
      const size_t at =
          static_cast<size_t>(i) * static_cast<size_t>(outputs) + static_cast<size_t>(n);
      sum = Activated(finish.activation, sum);
      if (finish.residual) sum += double{problem.residual[at]};
      const double error = std::abs(double{out[at]} - sum) / (magnitude + 1);
      if (std::isnan(error)) return std::numeric_limits<double>::infinity();
      worst = std::max(worst, error);
    }
  }
  return worst;
}

class Gemm : public GpuTestWith<std::tuple<Shape, DeviceType>> {
 protected:
  Problem problem_{std::get<0>(GetParam()), std::get<1>(GetParam())};
};
std::string ParamName(const testing::TestParamInfo<std::tuple<Shape, DeviceType>>& test) {
  const auto& [shape, type] = test.param;
  return std::to_string(shape.rows) + "x" + std::to_string(shape.inputs) + "x" +
         std::to_string(shape.outputs) + "_" + Name(type);
}
INSTANTIATE_TEST_SUITE_P(
    , Gemm,
    testing::Combine(testing::Values(Shape{1, 8, 1}, Shape{7, 32, 6}, Shape{49, 512, 2048},
                                     Shape{49, 2048, 512}, Shape{129, 64, 256},
                                     Shape{196, 256, 1024}, Shape{257, 96, 384},
                                     Shape{300, 128, 10}, Shape{64, 1024, 34}, Shape{1000, 16, 64},
                                     Shape{3136, 64, 64}),
                     testing::Values(DeviceType::kFloat32, DeviceType::kBfloat16)),
    ParamName);

TEST_P(Gemm, EqualsASumInDoublePrecision) {
  const int rows = problem_.shape.rows;
  for (const Finish& finish :
       {Finish{}, Finish{.residual = true}, Finish{.activation = Activation::kRelu},
        Finish{.activation = Activation::kSilu}, Finish{.activation = Activation::kGelu}}) {
    EXPECT_LE(Error(problem_, Product(problem_, rows, rows, finish), finish), 1e-6)
        << static_cast<int>(finish.activation) << finish.residual;
  }
  const Finish rounded{.activation = Activation::kGelu, .out = problem_.type};
  EXPECT_LE(Error(problem_, Product(problem_, rows, rows, rounded), rounded),
            problem_.type == DeviceType::kFloat32 ? 1e-6 : 4e-3);
}

TEST_P(Gemm, RowsDoNotDependOnEachOther) {
  const auto& [rows, inputs, outputs] = problem_.shape;
  const Finish finish{.activation = Activation::kGelu, .out = problem_.type};
  const std::vector<float> all = Product(problem_, rows, rows, finish);
  for (const int some : {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, rows - 1}) {
    if (some < 1 || some >= rows) continue;
    for (const int capacity : {some, rows + 100}) {
      const std::vector<float> few = Product(problem_, some, capacity, finish);
      EXPECT_EQ(std::memcmp(few.data(), all.data(), few.size() * sizeof(float)), 0)
          << some << " rows of " << capacity;
    }
  }
  // Shifted by one row: the same rows at other places.
  if (rows < 2) return;
  Problem shifted = problem_;
  shifted.x.erase(shifted.x.begin(), shifted.x.begin() + inputs);
  shifted.residual.erase(shifted.residual.begin(), shifted.residual.begin() + outputs);
  const std::vector<float> moved = Product(shifted, rows - 1, rows - 1, finish);
  EXPECT_EQ(std::memcmp(moved.data(), all.data() + outputs, moved.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace spatialmamba::gpu
