#include "model/image/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <vector>

namespace spatialmamba {
namespace {

constexpr int64_t kChannels = 3;
constexpr int kCubicBits = 22;

void CheckSizes(const Image& image, int64_t height, int64_t width) {
  if (image.height <= 0 || image.width <= 0 || height <= 0 || width <= 0) {
    throw std::invalid_argument(
        "a picture cannot be resized from or to a size that is not positive");
  }
  if (static_cast<int64_t>(image.rgb.size()) / kChannels / image.width != image.height ||
      static_cast<int64_t>(image.rgb.size()) != image.height * image.width * kChannels) {
    throw std::invalid_argument("a picture's bytes are not height x width x 3");
  }
}

// Keys' kernel, a = -0.5.
double Cubic(double x) {
  x = std::abs(x);
  if (x < 1) {
    return (1.5 * x - 2.5) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

// The sources of one output along one axis: indices first, first + 1, ... with these weights.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

Taps CubicTaps(int64_t output, int64_t count, int64_t size) {
  const double scale = static_cast<double>(count) / static_cast<double>(size);
  const double reach = 2.0 * std::max(scale, 1.0);
  const double centre = (static_cast<double>(output) + 0.5) * scale;
  const auto first = std::max<int64_t>(0, static_cast<int64_t>(centre - reach + 0.5));
  const auto last = std::min(count, static_cast<int64_t>(centre + reach + 0.5));
  std::vector<double> exact;
  double total = 0;
  for (int64_t i = first; i < last; ++i) {
    const double at = (static_cast<double>(i) - centre + 0.5) * (1.0 / std::max(scale, 1.0));
    exact.push_back(Cubic(at));
    total += exact.back();
  }
  Taps taps{.first = first};
  for (const double weight : exact) {
    const double bits = weight / total * (1 << kCubicBits) + std::copysign(0.5, weight);
    taps.weights.push_back(static_cast<int32_t>(bits));
  }
  return taps;
}

// Those of the outputs from, ..., from + wanted - 1.
std::vector<Taps> CubicTaps(int64_t from, int64_t wanted, int64_t count, int64_t size) {
  std::vector<Taps> taps;
  for (int64_t i = 0; i < wanted; ++i) {
    taps.push_back(CubicTaps(from + i, count, size));
  }
  return taps;
}

uint8_t CubicByte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kCubicBits, 0, 255));
}

void CubicRow(const uint8_t* source, std::span<const Taps> columns, uint8_t* result) {
  for (const Taps& taps : columns) {
    const uint8_t* pixel = source + taps.first * kChannels;
    std::array<int32_t, kChannels> sum;
    sum.fill(1 << (kCubicBits - 1));
    for (const int32_t weight : taps.weights) {
      sum[0] += weight * pixel[0];
      sum[1] += weight * pixel[1];
      sum[2] += weight * pixel[2];
      pixel += kChannels;
    }
    for (const int32_t channel : sum) {
      *result++ = CubicByte(channel);
    }
  }
}

// The rows [first, last) of the picture, resized horizontally to the wanted columns.
Image CubicHorizontal(const Image& image, int64_t first, int64_t last, int64_t width,
                      const Window& window) {
  Image result = BlackImage(last - first, window.width);
  if (width == image.width) {
    for (int64_t row = first; row < last; ++row) {
      std::copy_n(Row(image, row) + window.left * kChannels, window.width * kChannels,
                  Row(result, row - first));
    }
    return result;
  }
  const std::vector<Taps> columns = CubicTaps(window.left, window.width, image.width, width);
  for (int64_t row = first; row < last; ++row) {
    CubicRow(Row(image, row), columns, Row(result, row - first));
  }
  return result;
}

// `image` holds the rows of the source from `first` on.
Image CubicVertical(const Image& image, int64_t first, std::span<const Taps> rows) {
  Image result = BlackImage(static_cast<int64_t>(rows.size()), image.width);
  std::vector<int32_t> sums(static_cast<size_t>(image.width * kChannels));
  int64_t row = 0;
  for (const Taps& taps : rows) {
    std::ranges::fill(sums, 1 << (kCubicBits - 1));
    int64_t from = taps.first - first;
    for (const int32_t weight : taps.weights) {
      const uint8_t* source = Row(image, from++);
      for (size_t i = 0; i < sums.size(); ++i) {
        sums[i] += weight * source[i];
      }
    }
    std::ranges::transform(sums, Row(result, row++), CubicByte);
  }
  return result;
}

// Two sources of one output along one axis, and their 11-bit weights.
struct Pair {
  int64_t near = 0;
  int64_t far = 0;
  int32_t near_weight = 0;
  int32_t far_weight = 0;
};

// Positions are float64, fractions float32. OpenCV zeroes the fraction beyond the edges for columns
// only: at the top and the bottom both taps read the edge row with weights that add up to one, and
// the two roundings can lose a unit.
std::vector<Pair> LinearPairs(int64_t count, int64_t size, bool zero_at_edges) {
  const double scale = 1.0 / (static_cast<double>(size) / static_cast<double>(count));
  std::vector<Pair> pairs;
  pairs.reserve(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) {
    const auto position = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    const float floor = std::floor(position);
    const auto index = static_cast<int64_t>(floor);
    float fraction = position - floor;
    if (zero_at_edges && (index < 0 || index >= count - 1)) {
      fraction = 0;
    }
    pairs.push_back({.near = std::clamp<int64_t>(index, 0, count - 1),
                     .far = std::clamp<int64_t>(index + 1, 0, count - 1),
                     .near_weight = static_cast<int32_t>(std::lrint((1.0F - fraction) * 2048.0F)),
                     .far_weight = static_cast<int32_t>(std::lrint(fraction * 2048.0F))});
  }
  return pairs;
}

// A source row resized horizontally, without the 4 bits that the vertical pass does not read.
struct LinearRow {
  int64_t source = -1;
  std::vector<int32_t> values;
};

void FillLinearRow(const Image& image, int64_t source, std::span<const Pair> columns,
                   LinearRow& row) {
  const uint8_t* pixels = Row(image, source);
  int32_t* value = row.values.data();
  for (const Pair& pair : columns) {
    const uint8_t* near = pixels + pair.near * kChannels;
    const uint8_t* far = pixels + pair.far * kChannels;
    for (int64_t channel = 0; channel < kChannels; ++channel) {
      *value++ = (near[channel] * pair.near_weight + far[channel] * pair.far_weight) >> 4;
    }
  }
  row.source = source;
}

// Finds a row among the two kept; if it is not there, computes it in place of the one that is not
// `other`.
const LinearRow& FindLinearRow(const Image& image, int64_t source, int64_t other,
                               std::span<const Pair> columns, std::array<LinearRow, 2>& kept) {
  for (const LinearRow& row : kept) {
    if (row.source == source) {
      return row;
    }
  }
  LinearRow& replaced = kept[0].source == other ? kept[1] : kept[0];
  FillLinearRow(image, source, columns, replaced);
  return replaced;
}

}  // namespace

Image ResizeBicubic(const Image& image, int64_t height, int64_t width, const Window& window) {
  CheckSizes(image, height, width);
  if (window.top < 0 || window.left < 0 || window.height <= 0 || window.width <= 0 ||
      window.height > height - window.top || window.width > width - window.left) {
    throw std::invalid_argument("the wanted window is not within the resized picture");
  }
  if (height == image.height) {
    return CubicHorizontal(image, window.top, window.top + window.height, width, window);
  }
  const std::vector<Taps> rows = CubicTaps(window.top, window.height, image.height, height);
  const int64_t first = rows.front().first;
  const int64_t last = rows.back().first + static_cast<int64_t>(rows.back().weights.size());
  return CubicVertical(CubicHorizontal(image, first, last, width, window), first, rows);
}

Image ResizeBilinear(const Image& image, int64_t height, int64_t width) {
  CheckSizes(image, height, width);
  const std::vector<Pair> columns = LinearPairs(image.width, width, true);
  const std::vector<Pair> rows = LinearPairs(image.height, height, false);
  std::array<LinearRow, 2> kept;
  for (LinearRow& row : kept) {
    row.values.resize(static_cast<size_t>(width * kChannels));
  }
  Image result = BlackImage(height, width);
  for (int64_t i = 0; i < height; ++i) {
    const Pair& pair = rows[static_cast<size_t>(i)];
    const auto& near = FindLinearRow(image, pair.near, pair.far, columns, kept).values;
    const auto& far = FindLinearRow(image, pair.far, pair.near, columns, kept).values;
    uint8_t* target = Row(result, i);
    for (size_t j = 0; j < near.size(); ++j) {
      const int32_t value = (pair.near_weight * near[j] >> 16) + (pair.far_weight * far[j] >> 16);
      target[j] = static_cast<uint8_t>(std::clamp((value + 2) >> 2, 0, 255));
    }
  }
  return result;
}

}  // namespace spatialmamba
