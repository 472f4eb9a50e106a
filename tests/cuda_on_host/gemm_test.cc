#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "model/ops/gemm_tiles.h"
#include "model/ops/kernel.h"

namespace spatialmamba {
namespace {

constexpr DeviceType kBf16 = DeviceType::kBfloat16, kFp32 = DeviceType::kFloat32;

std::string Name(DeviceType type) { return type == kBf16 ? "bf16" : "fp32"; }

// A matrix in a block of exactly its size, without the padding after the last row, so that the
// address sanitizer sees a step over its end.
class Matrix {
 public:
  Matrix(DeviceType type, int rows, int columns, int padding = 0)
      : type_(type), rows_(rows), columns_(columns) {
    const int group = 16 / DeviceBytes(type);
    stride_ = (columns + padding + group - 1) / group * group;
    const int values = rows == 0 ? 0 : (rows - 1) * stride_ + columns;
    bytes_.assign(static_cast<size_t>(values) * static_cast<size_t>(DeviceBytes(type)), 0xFF);
  }

  static Matrix Random(DeviceType type, int rows, int columns, unsigned seed, int padding = 0,
                       float limit = 1) {
    Matrix matrix(type, rows, columns, padding);
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> uniform(-limit, limit);
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) matrix.Set(i, j, uniform(generator));
    }
    return matrix;
  }

  float At(int row, int column) const {
    if (type_ == kFp32) return Value<float>(row, column);
    return Value<__nv_bfloat16>(row, column);
  }
  void Set(int row, int column, float value) {
    if (type_ == kFp32) {
      Put<float>(row, column, value);
    } else {
      Put<__nv_bfloat16>(row, column, value);
    }
  }
  DeviceMap map() { return {bytes_.data(), columns_, stride_, type_}; }
  const std::vector<unsigned char>& bytes() const { return bytes_; }
  int rows() const { return rows_; }
  int stride() const { return stride_; }
  // The same first rows.
  bool StartsLike(const Matrix& other, int rows) const {
    return memcmp(bytes_.data(), other.bytes_.data(),
                  static_cast<size_t>((rows - 1) * stride_ + columns_) *
                      static_cast<size_t>(DeviceBytes(type_))) == 0;
  }

 private:
  template <typename T>
  T Value(int row, int column) const {
    T value;
    memcpy(&value, bytes_.data() + Offset(row, column), sizeof(T));
    return value;
  }
  template <typename T>
  void Put(int row, int column, T value) {
    memcpy(bytes_.data() + Offset(row, column), &value, sizeof(T));
  }
  size_t Offset(int row, int column) const {
    return static_cast<size_t>(row * stride_ + column) * static_cast<size_t>(DeviceBytes(type_));
  }

  DeviceType type_;
  int rows_;
  int columns_;
  int stride_;
  std::vector<unsigned char> bytes_;
};

std::vector<float> Bias(int outputs) {
  std::vector<float> bias;
  for (int n = 0; n < outputs; ++n) bias.push_back(0.1f * static_cast<float>(n % 7) - 0.3f);
  return bias;
}

double Activated(Activation activation, double v) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return std::max(v, 0.0);
    case Activation::kSilu:
      return v / (1 + std::exp(-v));
    case Activation::kGelu:
      return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
  }
  return v;
}

// One product and what it is made of; x is what GemmCuda would have to multiply if it were no
// convolution.
struct Product {
  Matrix x;
  Matrix weights;
  Matrix out;
  std::vector<float> bias = {};
  int rows;

  Product(DeviceType type, int rows_value, int inputs, int outputs, DeviceType out_type,
          int padding = 0)
      : x(Matrix::Random(type, rows_value, inputs, 1, padding)),
        weights(Matrix::Random(type, outputs, inputs, 2, padding, 0.25f)),
        out(out_type, rows_value, outputs, padding),
        rows(rows_value) {}

  DeviceGemm Gemm() {
    DeviceGemm gemm;
    gemm.x = x.map();
    gemm.inputs = gemm.x.channels;
    gemm.weights = weights.map().data;
    gemm.weight_stride = weights.stride();
    gemm.out = out.map();
    gemm.outputs = gemm.out.channels;
    gemm.bias = bias.empty() ? nullptr : bias.data();
    gemm.rows = &rows;
    gemm.row_capacity = rows;
    return gemm;
  }
};

using Terms = std::function<double(int row, int input)>;

// The largest error, relative to 1 + what is right.
double WorstError(const DeviceGemm& gemm, const Matrix& weights, const Matrix& out, const Terms& x,
                  const Terms& residual) {
  double worst = 0;
  for (int i = 0; i < *gemm.rows; ++i) {
    for (int n = 0; n < gemm.outputs; ++n) {
      double sum = gemm.bias == nullptr ? 0 : gemm.bias[n];
      for (int k = 0; k < gemm.inputs; ++k) sum += x(i, k) * weights.At(n, k);
      const double want = Activated(gemm.activation, sum) + (residual ? residual(i, n) : 0);
      const double error = std::abs(out.At(i, n) - want) / (1 + std::abs(want));
      if (!(error <= worst)) worst = std::isnan(error) ? 1e30 : error;
    }
  }
  return worst;
}

double WorstError(Product& product, const DeviceGemm& gemm, const Terms& residual = nullptr) {
  return WorstError(
      gemm, product.weights, product.out, [&](int i, int k) { return product.x.At(i, k); },
      residual);
}

// What rounding allows: that of the sums, and of bf16 results.
double Tolerance(DeviceType out) { return out == kFp32 ? 1e-5 : 4e-3; }

class GemmCudaTest : public testing::Test {
 protected:
  void TearDown() override { cuda_on_host::options.seed = 0; }
};

TEST_F(GemmCudaTest, MatchesALoopForEverySize) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const int rows : {1, 7, 49, 129, 200}) {
      for (const int inputs : {8, 24, 64, 136, 576}) {
        for (const int outputs : {1, 10, 64, 100, 192}) {
          Product product(type, rows, inputs, outputs, kFp32);
          const DeviceGemm gemm = product.Gemm();
          GemmCuda(gemm, nullptr);
          EXPECT_LE(WorstError(product, gemm), Tolerance(kFp32))
              << Name(type) << " " << rows << " x " << inputs << " x " << outputs;
        }
      }
    }
  }
}

TEST_F(GemmCudaTest, RoundsBf16ResultsOnce) {
  for (const int outputs : {1, 10, 64, 100}) {
    Product product(kBf16, 77, 72, outputs, kBf16);
    Product exact(kBf16, 77, 72, outputs, kFp32);
    GemmCuda(product.Gemm(), nullptr);
    GemmCuda(exact.Gemm(), nullptr);
    for (int i = 0; i < 77; ++i) {
      for (int n = 0; n < outputs; ++n) {
        ASSERT_EQ(product.out.At(i, n), static_cast<float>(__nv_bfloat16(exact.out.At(i, n))));
      }
    }
  }
}

TEST_F(GemmCudaTest, EveryTileGivesTheSameBits) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const auto& [rows, inputs, outputs] :
         {std::array{200, 576, 192}, {129, 136, 100}, {1, 64, 10}, {49, 1032, 72}}) {
      std::vector<unsigned char> first;
      for (const GemmTile tile : GemmTiles(type)) {
        Product product(type, rows, inputs, outputs, type);
        product.bias = Bias(outputs);
        const DeviceGemm gemm = product.Gemm();
        GemmCuda(gemm, tile, nullptr);
        EXPECT_LE(WorstError(product, gemm), Tolerance(type));
        if (first.empty()) first = product.out.bytes();
        EXPECT_EQ(first, product.out.bytes())
            << Name(type) << " " << SizeOf(tile).rows << " x " << SizeOf(tile).outputs;
      }
    }
  }
}

TEST_F(GemmCudaTest, ThreadOrderDoesNotMatter) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const GemmTile tile : GemmTiles(type)) {
      std::vector<unsigned char> first;
      for (const unsigned seed : {0u, 1u, 2u}) {
        cuda_on_host::options.seed = seed;
        Product product(type, 150, 712, 96, type);
        GemmCuda(product.Gemm(), tile, nullptr);
        if (seed == 0) first = product.out.bytes();
        EXPECT_EQ(first, product.out.bytes());
      }
    }
  }
}

TEST_F(GemmCudaTest, ARowDoesNotDependOnTheOthers) {
  for (const DeviceType type : {kBf16, kFp32}) {
    Product all(type, 200, 136, 100, type);
    GemmCuda(all.Gemm(), nullptr);
    for (const int row : {0, 63, 131, 199}) {
      Product one(type, 1, 136, 100, type);
      for (int k = 0; k < 136; ++k) one.x.Set(0, k, all.x.At(row, k));
      GemmCuda(one.Gemm(), nullptr);
      for (int n = 0; n < 100; ++n) ASSERT_EQ(one.out.At(0, n), all.out.At(row, n));
    }
  }
}

TEST_F(GemmCudaTest, LeavesEverythingElseAlone) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const GemmTile tile : GemmTiles(type)) {
      for (const int rows : {0, 1, 70, 200}) {
        Product product(type, 200, 72, 44, type, 24);
        for (int i = 0; i < 200; ++i) {
          for (int n = 0; n < 44; ++n) product.out.Set(i, n, 123);
        }
        const Matrix before = product.out;
        product.rows = rows;
        DeviceGemm gemm = product.Gemm();
        gemm.row_capacity = 200;
        GemmCuda(gemm, tile, nullptr);
        EXPECT_LE(WorstError(product, gemm), Tolerance(type));
        for (size_t i = 0; i < before.bytes().size(); ++i) {
          const int value = static_cast<int>(i) / DeviceBytes(type);
          const bool written =
              value / product.out.stride() < rows && value % product.out.stride() < 44;
          if (written) continue;
          ASSERT_EQ(product.out.bytes()[i], before.bytes()[i]) << i;
        }
      }
    }
  }
}

TEST_F(GemmCudaTest, AddsBiasActivationAndResidual) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const DeviceType out : {type, kFp32}) {
      for (const Activation activation :
           {Activation::kNone, Activation::kRelu, Activation::kSilu, Activation::kGelu}) {
        for (const bool with_residual : {false, true}) {
          for (const int outputs : {6, 64, 100}) {
            Product product(type, 70, 72, outputs, out);
            product.bias = Bias(outputs);
            Matrix residual = Matrix::Random(out, 70, outputs, 3, 16);
            DeviceGemm gemm = product.Gemm();
            gemm.activation = activation;
            if (with_residual) gemm.residual = residual.map();
            GemmCuda(gemm, nullptr);
            const Terms terms = [&](int i, int n) { return residual.At(i, n); };
            EXPECT_LE(WorstError(product, gemm, with_residual ? terms : nullptr), Tolerance(out))
                << Name(type) << " " << static_cast<int>(activation) << " " << outputs;
          }
        }
      }
    }
  }
}

TEST_F(GemmCudaTest, OutMayBeTheResidual) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const GemmTile tile : GemmTiles(type)) {
      Product product(type, 150, 72, 100, type);
      const Matrix residual = Matrix::Random(type, 150, 100, 3);
      product.out = residual;
      DeviceGemm gemm = product.Gemm();
      gemm.residual = gemm.out;
      GemmCuda(gemm, tile, nullptr);
      const Terms terms = [&](int i, int n) { return residual.At(i, n); };
      EXPECT_LE(WorstError(product, gemm, terms), Tolerance(type));
    }
  }
}

// Images of a batch at one resolution.
struct Level {
  std::vector<DeviceSpan> spans;
  std::vector<int> counts;

  explicit Level(const std::vector<std::pair<int, int>>& shapes) : counts(kDeviceCounts) {
    for (const auto& [height, width] : shapes) {
      spans.push_back({counts[kTokenCount], height, width});
      counts[kTokenCount] += height * width;
    }
    counts[kImageCount] = static_cast<int>(shapes.size());
  }
  int tokens() const { return counts[kTokenCount]; }
  DeviceLevel level() const {
    DeviceLevel level = {};
    level.counts = counts.data();
    level.spans = spans.data();
    return level;
  }
};

std::vector<std::pair<int, int>> Stepped(std::vector<std::pair<int, int>> shapes, int step) {
  for (auto& [height, width] : shapes) {
    height = (height + step - 1) / step;
    width = (width + step - 1) / step;
  }
  return shapes;
}

// What a convolution's row reads as its input `k`.
double WindowAt(const Matrix& x, const Level& from, const Level& to, int step, int row, int k,
                int channels) {
  size_t image = 0;
  while (image + 1 < to.spans.size() && to.spans[image + 1].offset <= row) ++image;
  const DeviceSpan out = to.spans[image], in = from.spans[image];
  const int pixel = row - out.offset, tap = k / channels;
  const int y = pixel / out.width * step + tap / 3 - 1;
  const int column = pixel % out.width * step + tap % 3 - 1;
  if (y < 0 || y >= in.height || column < 0 || column >= in.width) return 0;
  return x.At(in.offset + y * in.width + column, k % channels);
}

class ConvCuda {
 public:
  ConvCuda(DeviceType type, const std::vector<std::pair<int, int>>& shapes, int step, int channels,
           int outputs)
      : from_(shapes),
        to_(Stepped(shapes, step)),
        step_(step),
        channels_(channels),
        x_(Matrix::Random(type, from_.tokens(), channels, 1, 8)),
        weights_(Matrix::Random(type, outputs, 9 * channels, 2, 0, 0.25f)),
        out_(type, to_.tokens() + 30, outputs),
        bias_(Bias(outputs)) {}

  DeviceGemm Gemm() {
    DeviceGemm gemm;
    gemm.x = x_.map();
    gemm.inputs = 9 * channels_;
    gemm.weights = weights_.map().data;
    gemm.weight_stride = weights_.stride();
    gemm.bias = bias_.data();
    gemm.out = out_.map();
    gemm.outputs = gemm.out.channels;
    gemm.rows = &to_.counts[kTokenCount];
    gemm.row_capacity = out_.rows();
    gemm.step = step_;
    gemm.from = from_.level();
    gemm.to = to_.level();
    return gemm;
  }

  double Error(const DeviceGemm& gemm) const {
    return WorstError(
        gemm, weights_, out_,
        [&](int row, int k) { return WindowAt(x_, from_, to_, step_, row, k, channels_); },
        nullptr);
  }

  const Matrix& out() const { return out_; }
  int rows() const { return to_.tokens(); }

 private:
  Level from_;
  Level to_;
  int step_;
  int channels_;
  Matrix x_;
  Matrix weights_;
  Matrix out_;
  std::vector<float> bias_;
};

const std::vector<std::pair<int, int>> kShapes = {{1, 1},  {1, 9}, {7, 5}, {8, 1},
                                                  {14, 6}, {3, 3}, {2, 2}};

TEST_F(GemmCudaTest, ConvolvesRaggedImages) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const int step : {1, 2}) {
      for (const int channels : {8, 24, 64, 72}) {
        for (const int outputs : {5, 64}) {
          ConvCuda conv(type, kShapes, step, channels, outputs);
          DeviceGemm gemm = conv.Gemm();
          gemm.activation = channels == 24 ? Activation::kRelu : Activation::kNone;
          GemmCuda(gemm, nullptr);
          EXPECT_LE(conv.Error(gemm), Tolerance(type))
              << Name(type) << " step " << step << ", " << channels << " to " << outputs;
        }
      }
    }
  }
}

TEST_F(GemmCudaTest, EveryTileConvolvesToTheSameBits) {
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const int step : {1, 2}) {
      std::vector<unsigned char> first;
      for (const GemmTile tile : GemmTiles(type)) {
        for (const unsigned seed : {0u, 1u, 2u}) {
          cuda_on_host::options.seed = seed;
          ConvCuda conv(type, kShapes, step, 16, 72);
          GemmCuda(conv.Gemm(), tile, nullptr);
          if (first.empty()) first = conv.out().bytes();
          EXPECT_EQ(first, conv.out().bytes())
              << Name(type) << " " << SizeOf(tile).rows << " x " << SizeOf(tile).outputs;
        }
      }
    }
  }
}

// Two images first, then others behind them.
TEST_F(GemmCudaTest, AConvolvedImageDoesNotDependOnTheOthers) {
  for (const DeviceType type : {kBf16, kFp32}) {
    ConvCuda few(type, {kShapes[1], kShapes[2]}, 1, 16, 24);
    ConvCuda many(type, {kShapes[1], kShapes[2], kShapes[4], kShapes[4]}, 1, 16, 24);
    GemmCuda(few.Gemm(), nullptr);
    GemmCuda(many.Gemm(), nullptr);
    EXPECT_TRUE(many.out().StartsLike(few.out(), few.rows()));
  }
}

TEST_F(GemmCudaTest, ChoosesATileForEverySize) {
  EXPECT_EQ(ChooseGemmTile(kBf16, 64 * 3136, 256), GemmTile::k128x128);
  EXPECT_EQ(ChooseGemmTile(kBf16, 64 * 3136, 64), GemmTile::k128x64);
  EXPECT_EQ(ChooseGemmTile(kBf16, 64 * 12544, 32), GemmTile::k128x32);
  EXPECT_EQ(ChooseGemmTile(kBf16, 49, 2048), GemmTile::k32x32);
  for (const DeviceType type : {kBf16, kFp32}) {
    for (const int rows : {1, 49, 3136, std::numeric_limits<int>::max()}) {
      for (const int outputs : {1, 64, 2048}) {
        const auto& tiles = GemmTiles(type);
        EXPECT_NE(std::find(tiles.begin(), tiles.end(), ChooseGemmTile(type, rows, outputs)),
                  tiles.end());
      }
    }
  }
}

TEST_F(GemmCudaTest, NamesWhatDoesNotFit) {
  const auto message = [](const std::function<void(DeviceGemm&)>& spoil) -> std::string {
    Product product(kBf16, 10, 72, 16, kBf16);
    Matrix residual(kBf16, 10, 16);
    DeviceGemm gemm = product.Gemm();
    gemm.residual = residual.map();
    spoil(gemm);
    try {
      GemmCuda(gemm, nullptr);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const std::vector<std::pair<std::function<void(DeviceGemm&)>, std::string>> cases = {
      {[](DeviceGemm& g) { g.inputs = 68; }, "inputs"},
      {[](DeviceGemm& g) { g.outputs = 0; }, "outputs"},
      {[](DeviceGemm& g) { g.weights = nullptr; }, "weights"},
      {[](DeviceGemm& g) { g.weights = static_cast<const char*>(g.weights) + 4; }, "weights"},
      {[](DeviceGemm& g) { g.weight_stride = 64; }, "weights' stride"},
      {[](DeviceGemm& g) { g.x.data = nullptr; }, "x is null"},
      {[](DeviceGemm& g) { g.x.channels = 64; }, "x has 64 channels, not 72"},
      {[](DeviceGemm& g) { g.x.stride = 76; }, "x has a stride of 76"},
      {[](DeviceGemm& g) { g.out.channels = 8; }, "out has 8 channels"},
      {[](DeviceGemm& g) { g.out.stride = 8; }, "out has a stride"},
      {[](DeviceGemm& g) { g.x.type = kFp32; }, "out is neither"},
      {[](DeviceGemm& g) { g.x.type = g.out.type = kFp32; }, "residual is neither"},
      {[](DeviceGemm& g) { g.residual.channels = 8; }, "residual has 8 channels"},
      {[](DeviceGemm& g) { g.rows = nullptr; }, "row count"},
      {[](DeviceGemm& g) { g.row_capacity = -1; }, "row capacity"},
      {[](DeviceGemm& g) { g.step = 3; }, "step"},
      {[](DeviceGemm& g) { g.step = 1; }, "from has no counts"},
      {[](DeviceGemm& g) { g.step = 1, g.inputs = 64; }, "channels are no multiple of 8"}};
  for (const auto& [spoil, part] : cases) {
    EXPECT_NE(message(spoil).find(part), std::string::npos) << part << ": " << message(spoil);
  }
  EXPECT_EQ(message([](DeviceGemm& g) { g.row_capacity = 0; }), "");
  EXPECT_EQ(message([](DeviceGemm&) {}), "");
}

}  // namespace
}  // namespace spatialmamba
