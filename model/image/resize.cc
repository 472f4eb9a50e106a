#include "model/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
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
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  if (image.height > kMost || image.width > kMost || height > kMost || width > kMost) {
    throw std::invalid_argument("a side of a picture is too long to be resized");
  }
  // Pictures are the unit of parallelism here: OpenCV's own threads would fight over the cores.
  static const bool kSingleThreaded = (cv::setNumThreads(1), true);
  static_cast<void>(kSingleThreaded);
  Image result = BlackImage(height, width);
  const cv::Mat source(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3,
                       const_cast<uint8_t*>(image.rgb.data()));  // only read
  cv::Mat target(static_cast<int>(height), static_cast<int>(width), CV_8UC3, result.rgb.data());
  cv::resize(source, target, target.size(), 0, 0, cv::INTER_LINEAR);
  return result;
}

}  // namespace spatialmamba
