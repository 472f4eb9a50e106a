#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "cuda_on_host.h"
#include "model/ops/device_batch.h"

// Ragged batches and their values for tests of kernels that run on the CPU. Every array is a heap
// block of its exact size, so that the address sanitizer sees a step over its end.
namespace spatialmamba::cuda_on_host_test {

using Bf16 = __nv_bfloat16;

struct TileSize {
  int rows = 4;
  int columns = 8;
};

// One level of a batch. `spare`: places in the capacity that this batch leaves empty.
class RaggedLevel {
 public:
  explicit RaggedLevel(const std::vector<std::pair<int, int>>& shapes, TileSize tile = {},
                       int spare = 1) {
    for (const auto& [height, width] : shapes) {
      const int image = static_cast<int>(spans_.size());
      spans_.push_back({tokens_, height, width});
      tokens_ += height * width;
      for (int row = 0; row < height; row += tile.rows) {
        for (int column = 0; column < width; column += tile.columns) {
          tiles_.push_back({image, row, column});
        }
      }
    }
    counts_ = {static_cast<int>(spans_.size()), tokens_, static_cast<int>(tiles_.size())};
    level_ = {.counts = counts_.data(),
              .spans = spans_.data(),
              .tiles = tiles_.data(),
              .images = images() + spare,
              .tokens = tokens_ + 64 * spare,
              .tile_count = static_cast<int>(tiles_.size()) + 2 * spare,
              .tile_rows = tile.rows,
              .tile_columns = tile.columns};
  }
  RaggedLevel(const RaggedLevel&) = delete;
  RaggedLevel& operator=(const RaggedLevel&) = delete;

  const DeviceLevel& level() const { return level_; }
  const std::vector<DeviceSpan>& spans() const { return spans_; }
  int images() const { return static_cast<int>(spans_.size()); }
  int tokens() const { return tokens_; }
  const int* token_count() const { return &counts_[kTokenCount]; }

 private:
  int tokens_ = 0;
  std::vector<int> counts_;
  std::vector<DeviceSpan> spans_;
  std::vector<DeviceTile> tiles_;
  DeviceLevel level_;
};

inline std::vector<float> Random(size_t count, float low, float high, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(count);
  for (float& v : values) v = uniform(generator);
  return values;
}

// A map [rows, channels] with rows `stride` apart; what lies between rows is NaN.
template <typename T>
class TestMap {
 public:
  TestMap(int rows, int channels, int extra = 0)
      : channels_(channels),
        stride_((channels + kStep - 1) / kStep * kStep + extra * kStep),
        values_(static_cast<size_t>(rows) * static_cast<size_t>(stride_),
                T(std::numeric_limits<float>::quiet_NaN())) {}
  TestMap(int rows, int channels, float low, float high, unsigned seed, int extra = 0)
      : TestMap(rows, channels, extra) {
    const std::vector<float> random =
        Random(static_cast<size_t>(rows) * static_cast<size_t>(channels), low, high, seed);
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < channels; ++c) {
        at(r, c) = T(random[static_cast<size_t>(r) * static_cast<size_t>(channels) +
                            static_cast<size_t>(c)]);
      }
    }
  }

  T& at(int row, int channel) {
    return values_[static_cast<size_t>(row) * static_cast<size_t>(stride_) +
                   static_cast<size_t>(channel)];
  }
  double value(int row, int channel) const {
    return static_cast<double>(
        static_cast<float>(values_[static_cast<size_t>(row) * static_cast<size_t>(stride_) +
                                   static_cast<size_t>(channel)]));
  }
  DeviceMap map() {
    return {values_.data(), channels_, stride_,
            sizeof(T) == 4 ? DeviceType::kFloat32 : DeviceType::kBfloat16};
  }
  void Clear() {
    for (T& v : values_) v = T(std::numeric_limits<float>::quiet_NaN());
  }
  bool SameBits(const TestMap& other) const {
    return values_.size() == other.values_.size() &&
           std::memcmp(values_.data(), other.values_.data(), values_.size() * sizeof(T)) == 0;
  }
  bool Contains(int row, const TestMap& other, int other_row) const {
    return std::memcmp(
               &values_[static_cast<size_t>(row) * static_cast<size_t>(stride_)],
               &other.values_[static_cast<size_t>(other_row) * static_cast<size_t>(other.stride_)],
               static_cast<size_t>(channels_) * sizeof(T)) == 0;
  }

 private:
  static constexpr int kStep = 16 / static_cast<int>(sizeof(T));
  int channels_;
  int stride_;
  std::vector<T> values_;
};

// |actual - want| / (1 + |want|); infinity for NaN.
inline double Error(double actual, double want) {
  const double error = std::abs(actual - want) / (1 + std::abs(want));
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

// Of results of type T that were computed in fp32: fp32's own, or one rounding to bf16.
template <typename T>
constexpr double kTolerance = sizeof(T) == 4 ? 1e-5 : 4e-3;

// Runs `launch` in several orders of threads, of which each must leave the same bits in `out`.
template <typename T, typename Launch>
[[nodiscard]] bool SameInEveryOrder(TestMap<T>& out, const Launch& launch, unsigned orders = 3) {
  TestMap<T> first = out;
  for (unsigned seed = 0; seed < orders; ++seed) {
    ::cuda_on_host::options.seed = seed;
    out.Clear();
    launch();
    if (seed == 0) first = out;
    if (!first.SameBits(out)) return false;
  }
  ::cuda_on_host::options.seed = 0;
  return true;
}

}  // namespace spatialmamba::cuda_on_host_test
